"""A user's thing: what is run and where its arrays are, whether a torch module, an object with arrays, a
function or a cell.
"""

from __future__ import annotations

import copy
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..cell import GatedCell
from ..contract import State
from .names import ARRAYS, readings, size_role
from .source import entries, uses_torch

Arrays = dict[str, np.ndarray]


@dataclass
class Thing:
    """`function` computes; `arrays` are its own (float64 copies), {} where they are arguments, which `names`
    then has.

    `put` writes arrays into it and returns them as it holds them, torch leaves or NumPy arrays; `made` says that its arrays
    were drawn here and may be drawn anew. `keys`: the arrays are entries of one argument, taken by key or unpacked in order.
    """

    label: str
    function: Callable
    library: str
    arrays: Arrays
    dtype: str
    put: Callable[[Arrays], dict[str, Any]]
    made: bool
    names: list[str] = field(default_factory=list)
    keys: str | None = None
    batch_first: bool = False
    order: tuple[str, ...] = ()
    missed: list[str] = field(default_factory=list)


def said(error: BaseException) -> str:
    """An exception in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def understood(given: Any, cell: GatedCell, sizes: tuple[int, int], dtype: str | None) -> Thing:
    """The thing that was given. Raises ValueError, naming what is missing, for one that cannot be built or
    called.
    """
    label = getattr(given, "__name__", None) or type(given).__name__
    made = inspect.isclass(given)
    if made:
        given = _built(given, label, cell, sizes)
        if isinstance(given, Thing):
            return given
    elif (
        inspect.isfunction(given)
        or inspect.isbuiltin(given)
        or (inspect.ismethod(given) and not _holds(given.__self__))
    ):
        return of_function(given, label)
    elif inspect.ismethod(given):
        return of_object(copy.deepcopy(given.__self__), label, False, dtype, given.__name__)
    if not callable(given) and not any(hasattr(given, m) for m in METHODS):
        raise ValueError(
            f"{label} cannot be called; give a class, an object with forward, step or __call__, or a function"
        )
    return of_object(given if made else copy.deepcopy(given), label, made, dtype)


METHODS = ("forward", "step", "__call__", "cell", "call", "run")


def _built(cls: type, label: str, cell: GatedCell, sizes: tuple[int, int]) -> Any:
    """An object of the class, for these sizes; a Thing whose arrays are arguments where the constructor takes
    arrays.
    """
    try:
        arguments = list(inspect.signature(cls).parameters.values())
    except ValueError:
        arguments = []
    needed = [
        a
        for a in arguments
        if a.default is a.empty and a.kind in (a.POSITIONAL_ONLY, a.POSITIONAL_OR_KEYWORD, a.KEYWORD_ONLY)
    ]
    number = {"input": sizes[0], "hidden": sizes[1]}
    by_name = {a.name: number[r] for a in arguments if (r := size_role(a.name)) is not None}
    torch_like = {"RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell"} & {label}
    attempts: list[tuple[list[int], dict[str, int]]] = []
    if torch_like or (len(needed) == 2 and len(by_name) < 2):
        attempts.append((list(sizes), {}))
    if all(a.name in by_name for a in needed):
        attempts.append(([], by_name))
    if not needed and not by_name:
        attempts += (
            [(list(sizes), {}), ([], {})]
            if any(a.kind == a.VAR_POSITIONAL for a in arguments)
            else [([], {})]
        )
    problem = f"its constructor takes {', '.join(a.name for a in needed)}"
    for positional, keywords in attempts:
        try:
            return cls(*positional, **keywords)
        except Exception as error:  # somebody's code
            problem = (
                f"{label}({', '.join(map(str, [*positional, *(f'{k}={v}' for k, v in keywords.items())]))})"
                f" raised {said(error)}"
            )
    names = [a.name for a in needed if a.name not in by_name]
    if names and not attempts and all(readings(n, cell)[0].certain or n.lower() in ARRAYS for n in names):
        return _of_constructor(
            cls, label, names, {k: v for k, v in by_name.items() if k in {a.name for a in needed}}
        )
    raise ValueError(
        f"cannot build {label}: {problem}; give an object instead, or a constructor (input_size, hidden_size)"
    )


def _of_constructor(cls: type, label: str, names: list[str], sizes: dict[str, int]) -> Thing:
    """A class whose constructor takes the arrays, one by one or in a collection."""
    held: dict[str, Any] = {}

    def call(*arguments: Any, **keywords: Any) -> Any:
        return method_of(held["object"])(*arguments, **keywords)

    collection = names[0] if len(names) == 1 and names[0].lower() in ARRAYS else None
    keys = entries(vars(cls)["__init__"], collection) if collection else names

    def put(arrays: Arrays) -> dict[str, Any]:
        held["arrays"] = {k: np.array(v) for k, v in arrays.items()}
        given = {collection: dict(held["arrays"])} if collection else held["arrays"]
        held["object"] = cls(**given, **sizes)
        return held["arrays"]

    own = [vars(c)[m] for m in METHODS for c in cls.__mro__[:-1] if m in vars(c)]
    if not own:
        raise ValueError(
            f"{label} has no {', '.join(METHODS)}; one of them must compute a step or a sequence"
        )
    method = own[0]
    call.__signature__ = _without_self(method)  # type: ignore[attr-defined]
    return Thing(label, call, "numpy", {}, "float64", put, True, keys)


def _without_self(method: Callable) -> inspect.Signature:
    signature = inspect.signature(method)
    return signature.replace(parameters=list(signature.parameters.values())[1:])


def method_of(thing: Any) -> Any:
    """What computes: forward of a torch module, else step, call or the like."""
    if is_module(thing):
        written = getattr(type(thing).forward, "__name__", "") != "_forward_unimplemented"
        return thing if written else thing.step
    own = [m for m in METHODS if hasattr(thing, m)]
    if not own:
        raise ValueError(
            f"{type(thing).__name__} has no {', '.join(METHODS)}; one of them must compute a step or a"
            " sequence"
        )
    return getattr(thing, own[0])


def is_module(thing: Any) -> Any:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(thing, torch.nn.Module)


def _holds(thing: Any) -> bool:
    """Whether an object holds arrays."""
    return is_module(thing) or (not inspect.ismodule(thing) and bool(_attributes(thing)))


def of_object(thing: Any, label: str, made: bool, dtype: str | None, method: str | None = None) -> Thing:
    """A torch module or any object with arrays as attributes. It is changed: give a copy."""
    if is_module(thing):
        return _of_module(thing, label, made, dtype, method)
    places = _attributes(thing)
    tensors = any(hasattr(value, "detach") for _, _, value in places.values())
    arrays = {name: _numpy(value) for name, (_, _, value) in places.items()}
    own = (
        dtype or str(next(iter(places.values()))[2].dtype).removeprefix("torch.")
        if places
        else dtype or "float64"
    )
    held = {"object": thing}
    fresh = copy.deepcopy(thing)

    def put(new: Arrays) -> dict[str, Any]:
        held["object"] = copy.deepcopy(fresh)  # a state that it keeps inside starts anew
        into, given = _attributes(held["object"]), {}
        for name, (container, key, _) in into.items():
            value = new.get(name, arrays[name])
            given[name] = _tensor(value) if tensors else np.array(value)
            container[key] = given[name]
        return given

    def call(*arguments: Any, **keywords: Any) -> Any:
        found = getattr(held["object"], method) if method else method_of(held["object"])
        return found(*arguments, **keywords)

    bound = getattr(thing, method) if method else method_of(thing)
    call.__signature__, call.__wrapped__ = inspect.signature(bound), bound  # type: ignore[attr-defined]
    return Thing(label, call, "torch" if tensors else "numpy", arrays, own, put, made)


def _of_module(module: Any, label: str, made: bool, dtype: str | None, method: str | None) -> Thing:
    import torch

    module = module.eval().cpu()  # a dropout would make two runs differ
    if dtype:
        module = module.to(getattr(torch, dtype))
    leaves = dict(module.named_parameters())
    own = str(next(iter(leaves.values())).dtype).removeprefix("torch.") if leaves else dtype or "float32"

    def put(new: Arrays) -> dict[str, Any]:
        with torch.no_grad():
            for name, value in new.items():
                leaves[name].copy_(torch.as_tensor(value))
        for leaf in leaves.values():
            leaf.requires_grad_(True)
        return leaves

    bound = getattr(module, method) if method else method_of(module)

    def call(*arguments: Any, **keywords: Any) -> Any:
        return bound(*arguments, **keywords)

    written = module.forward if bound is module else bound
    call.__signature__, call.__wrapped__ = inspect.signature(written), written  # type: ignore[attr-defined]
    first = any(getattr(m, "batch_first", False) is True for m in module.modules())
    return Thing(
        label, call, "torch", {k: _numpy(v) for k, v in leaves.items()}, own, put, made, batch_first=first
    )


def of_function(function: Callable, label: str) -> Thing:
    """A function; its arrays are arguments, so only their names are known."""
    library = "torch" if uses_torch(function) else "numpy"

    def put(new: Arrays) -> dict[str, Any]:
        return (
            {k: _tensor(v) for k, v in new.items()}
            if library == "torch"
            else {k: np.array(v) for k, v in new.items()}
        )

    return Thing(label, function, library, {}, "float64", put, True)


def of_cell(own: GatedCell, sizes: tuple[int, int]) -> Thing:
    """A cell of the user's, stepped on tensors; `order` has its gates, for they may be other than the
    reference's.
    """
    own.verify()
    held: dict[str, Any] = {}

    def put(new: Arrays) -> dict[str, Any]:
        held.update({k: _tensor(v) for k, v in new.items()})
        return held

    def step(x: Any, state: Any) -> tuple[Any, tuple[Any, ...]]:
        values = state if isinstance(state, tuple) else (state,)
        output, new = own.step(own.effective(held), x, State(**dict(zip(own.states, values, strict=True))))
        return output, tuple(getattr(new, s) for s in own.states)

    return Thing(type(own).__name__, step, "torch", own.init(*sizes), "float64", put, True, order=own.gates)


def _attributes(thing: Any) -> dict[str, tuple[Any, Any, Any]]:
    """name: (container, key, array) of every floating array that an object holds, also in a dict or a
    namespace of its own.
    """
    found: dict[str, tuple[Any, Any, Any]] = {}
    for key, value in vars(thing).items() if hasattr(thing, "__dict__") else ():
        inner = (
            value
            if isinstance(value, dict)
            else vars(value)
            if type(value).__name__ == "SimpleNamespace"
            else None
        )
        if _is_array(value):
            found[key] = (vars(thing), key, value)
        elif inner is not None:
            found |= {f"{key}.{k}": (inner, k, v) for k, v in inner.items() if _is_array(v)}
    return found


def _is_array(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.dtype.kind == "f" and value.ndim > 0
    return hasattr(value, "detach") and value.is_floating_point() and value.dim() > 0


def _numpy(value: Any) -> np.ndarray:
    if hasattr(value, "detach"):
        value = value.detach().cpu().double().numpy()
    return np.array(value, np.float64)


def _tensor(value: np.ndarray) -> Any:
    import torch

    return torch.as_tensor(np.array(value)).requires_grad_(True)
