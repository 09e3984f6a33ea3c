"""Somebody's implementation of a cell: what FILE:NAME names, what of it is run, and where its arrays are.

It is a torch module, an object with arrays, a class of either, a function or a cell.
"""

from __future__ import annotations

import copy
import inspect
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ..cell import GatedCell
from ..contract import State
from ..exchange.files import checked_size
from ..find import given_path, importing, module_of, nearest
from . import building, modules
from .implementation import Arrays, Implementation, one_line
from .layout import CellArrays
from .words import ARRAYS, entries, readings, size_role, uses_torch

DEEPEST = 3  # objects in objects in which arrays are looked for
METHODS = ("forward", "step", "__call__", "cell", "call", "run")  # that may compute, likeliest first


def load(spec: str) -> Any:
    """What FILE:NAME names, or the only class or function that FILE defines.

    Raises ValueError, one line, where there is none.
    """
    path, _, name = spec.rpartition(".py:")
    path, name = (path + ".py", name) if path else (spec, "")
    if not path.endswith(".py"):
        raise ValueError(f"{spec!r} is no FILE:NAME; give path/to/file.py:Name, or an .onnx file")
    if not given_path(path).is_file():
        raise ValueError(f"no file {path!r}; give path/to/file.py:Name, or an .onnx file")
    module = _imported(given_path(path))
    if name and hasattr(module, name):
        return getattr(module, name)
    defined = {k: v for k, v in vars(module).items() if getattr(v, "__module__", "") == module.__name__}
    if name:
        known = [k for k in defined if not k.startswith("_")]
        has = ", ".join(known) or "nothing that can be called"
        raise ValueError(f"{path} has no {name!r}{nearest(name, known)} it has: {has}")
    run = {k: v for k, v in defined.items() if callable(v)}
    if len(run) != 1:
        has = ", ".join(run) or "nothing that can be called"
        raise ValueError(f"{path} defines {has}; say which: {path}:NAME")
    return next(iter(run.values()))


def _imported(file: Path) -> Any:
    root, package = _package(file.resolve())
    name = f"{package}checked_{file.stem}_{abs(hash(str(file.resolve()))):x}"
    sys.modules.pop(name, None)  # the file may have changed since
    # the file may import what lies beside it, and by a leading dot what its package has
    beside = list(dict.fromkeys([str(file.resolve().parent), str(root)]))
    sys.path[:0] = beside
    try:
        with importing(str(file)):
            return module_of(file, name)
    finally:
        del sys.path[: len(beside)]


def _package(file: Path) -> tuple[Path, str]:
    """(folder that holds the package of a file, its name with a dot behind it, "" where it is in none)."""
    root, package = file.parent, ""
    while (root / "__init__.py").is_file():
        root, package = root.parent, f"{root.name}.{package}"
    return root, package


def weights(file: Path) -> Arrays:
    """The arrays of an .npz file. Raises ValueError for a file that is none."""
    if not file.is_file():
        raise ValueError(
            f"no file {str(file)!r}; --weights takes an .npz file of the cell's arrays, as np.savez writes it"
        )
    checked_size(file)
    try:
        if not zipfile.is_zipfile(file):
            with file.open("rb") as opened:
                nameless = opened.read(len(np.lib.format.MAGIC_PREFIX)) == np.lib.format.MAGIC_PREFIX
            held = "holds one array without a name" if nameless else "is no archive, or a damaged one"
            raise ValueError(f"it {held}; np.savez(file, **arrays) writes one")
        with np.load(file) as held:
            return {name: held[name] for name in held.files}
    except (ValueError, AttributeError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{file} is no .npz file of arrays: {one_line(error)}") from None


def understood(given: Any, cell: GatedCell, sizes: tuple[int, int], dtype: str | None) -> Implementation:
    """What was given, ready to be run. Raises ValueError, naming what is missing, for what cannot be."""
    label = getattr(given, "__name__", None) or type(given).__name__
    if inspect.isclass(given):
        return _of_class(given, label, cell, sizes, dtype)
    if _is_module(given):
        module, said = modules.inner(given)
        modules.check_kind(module, cell)
        implementation = _of_object(module, modules.label(module), False, dtype)
        implementation.remarks += said
        return implementation
    if hasattr(given, "_torchdynamo_orig_callable"):  # a compiled function
        implementation = understood(given._torchdynamo_orig_callable, cell, sizes, dtype)
        implementation.remarks.append(modules.TAKEN_OFF)
        return implementation
    if inspect.ismethod(given) and _holds(given.__self__):
        return _of_object(modules.copied_whole(given.__self__), label, False, dtype, given.__name__)
    if building.makes(given):
        return _of_class(given, label, cell, sizes, dtype)
    if inspect.isfunction(given) or inspect.isbuiltin(given) or inspect.ismethod(given):
        return _of_function(given, label, dtype)
    _check_callable(given, label)
    return _of_object(modules.copied_whole(given), label, False, dtype)


def _check_callable(given: Any, label: str) -> None:
    if not callable(given) and not any(hasattr(given, method) for method in METHODS):
        raise ValueError(
            f"{label} cannot be called; give a class, an object with forward, step or __call__, or a function"
        )


def _of_class(
    cls: Callable[..., Any], label: str, cell: GatedCell, sizes: tuple[int, int], dtype: str | None
) -> Implementation:
    """An object of the class for these sizes; arrays are arguments where the constructor takes arrays.

    A function that makes an object stands for its class.

    Of all constructions the first whose arrays are the cell's is taken: names of arguments only say what is
    tried first.
    """
    from .mapping import readable

    needed = [a.name for a in building.needed(building.parameters(cls))]
    problem, made = f"its constructor takes {', '.join(needed) or 'nothing'}", []
    for positional, keywords in building.attempts(cls, cell, sizes):
        try:
            built = cls(*positional, **keywords)
            _check_callable(built, label)
            implementation = _of_object(built, label, True, dtype)
        except Exception as error:  # somebody's code
            if all(size_role(name) for name in needed):
                call = ", ".join(map(str, [*positional, *(f"{k}={v}" for k, v in keywords.items())]))
                problem = f"{label}({call}) raised {one_line(error)}"
            continue
        made.append(implementation)
        found = readable(implementation, cell, sizes)
        if found is not None:
            implementation.sizes = found
            return implementation
    by_name = {name: sizes[r == "hidden"] for name in needed if (r := size_role(name)) is not None}
    arrays = [name for name in needed if name not in by_name]
    named = all(readings(name, cell)[0].certain or name.lower() in ARRAYS for name in arrays)
    if (
        inspect.isclass(cls)
        and arrays
        and named
        and not any(implementation.arrays for implementation in made)
    ):
        return _of_constructor(cls, label, arrays, by_name, dtype)
    if made:
        return made[0]
    raise ValueError(
        f"cannot build {label}: {problem}; give an object instead, as a line of your file makes it (`model ="
        f" {label}(...)`, then FILE:model), or a constructor (input_size, hidden_size)"
    )


def _of_constructor(
    cls: type, label: str, names: list[str], sizes: dict[str, int], dtype: str | None
) -> Implementation:
    """A class whose constructor takes the arrays, one by one or in a collection."""
    held: dict[str, Any] = {}
    collection = names[0] if len(names) == 1 and names[0].lower() in ARRAYS else None
    methods = [vars(c)[m] for m in METHODS for c in cls.__mro__[:-1] if m in vars(c)]
    if not methods:
        raise ValueError(_no_method(label))

    def put(arrays: Arrays) -> dict[str, Any]:
        copies = {name: np.array(value) for name, value in arrays.items()}
        given: dict[str, Any] = {collection: dict(copies)} if collection else copies
        held["object"] = cls(**given, **sizes)
        return copies

    def call(*arguments: Any, **keywords: Any) -> Any:
        return _method(held["object"])(*arguments, **keywords)

    signature = inspect.signature(methods[0])
    without_self = list(signature.parameters.values())[1:]
    call.__signature__ = signature.replace(parameters=without_self)  # type: ignore[attr-defined]
    keys = entries(vars(cls)["__init__"], collection) if collection else names
    return Implementation(label, call, "numpy", {}, dtype or "float64", put, True, keys)


def _no_method(label: str) -> str:
    return f"{label} has no {', '.join(METHODS)}; one of them must compute a step or a sequence"


def _method(given: Any, name: str | None = None) -> Any:
    """What computes: the method of that name, else forward of a torch module, else step, call or the like."""
    if name is not None:
        return getattr(given, name)
    if _is_module(given):
        if modules.scripted(given):
            return modules.scripted_forward(given)
        written = getattr(type(given).forward, "__name__", "") != "_forward_unimplemented"
        return given if written else given.step
    methods = [method for method in METHODS if hasattr(given, method)]
    if not methods:
        raise ValueError(_no_method(type(given).__name__))
    return getattr(given, methods[0])


def _is_module(given: Any) -> bool:
    torch = sys.modules.get("torch")  # without it in memory nothing is a module of it
    return torch is not None and isinstance(given, torch.nn.Module)


def _holds(given: Any) -> bool:
    """Whether an object holds arrays."""
    return _is_module(given) or (not inspect.ismodule(given) and bool(_attributes(given)))


def _of_object(
    given: Any, label: str, made: bool, dtype: str | None, method: str | None = None
) -> Implementation:
    """A torch module or any object with arrays as attributes. It is changed: give a copy."""
    if _is_module(given):
        return _of_module(given, label, made, dtype, method)
    places = _attributes(given)
    values = [value for _, _, value in places.values()]
    tensors = any(hasattr(value, "detach") for value in values)
    arrays = {name: _numpy(value) for name, (_, _, value) in places.items()}
    own_dtype = str(values[0].dtype).removeprefix("torch.") if values else "float64"
    held, fresh = {"object": given}, copy.deepcopy(given)

    def put(new: Arrays) -> dict[str, Any]:
        held["object"] = copy.deepcopy(fresh)  # a state that it keeps inside starts anew
        given: dict[str, Any] = {}
        for name, (container, key, _) in _attributes(held["object"]).items():
            container[key] = given[name] = _as(values[0], new.get(name, arrays[name]))
        arguments = {name: value for name, value in new.items() if name not in given}
        return given | {n: _tensor(value) if tensors else np.array(value) for n, value in arguments.items()}

    def call(*arguments: Any, **keywords: Any) -> Any:
        return _method(held["object"], method)(*arguments, **keywords)

    _sign(call, _method(given, method))
    library = "torch" if tensors else "numpy"
    numbers = _numbers([given])
    return Implementation(label, call, library, arrays, dtype or own_dtype, put, made, numbers=numbers)


def _of_module(module: Any, label: str, made: bool, dtype: str | None, method: str | None) -> Implementation:
    """A module ready to be run; one of few bits is run in float32, and beside it (`low`) as it is."""
    import torch

    modules.check_held(module, label)
    module = module.eval().cpu()  # a dropout would make two runs differ
    said = modules.plain_weights(module)
    if dtype:
        module = module.to(getattr(torch, dtype))
    own_dtype = next((str(leaf.dtype).removeprefix("torch.") for leaf in module.parameters()), "float32")
    if own_dtype not in modules.LOW:
        implementation = _of_bound(module, label, made, own_dtype, method)
        implementation.remarks += said
        if own_dtype == "float32":
            implementation.in_float64 = lambda: _of_bound(
                modules.copied(module).double(), label, made, "float64", method
            )
        return implementation
    implementation = _of_bound(modules.copied(module).float(), label, made, "float32", method)
    implementation.low = _of_bound(module, label, made, own_dtype, method)
    implementation.remarks += said
    return implementation


def _of_bound(module: Any, label: str, made: bool, dtype: str, method: str | None) -> Implementation:
    import torch

    leaves, undo = dict(module.named_parameters()), modules.undone(module)
    arrays = {name: _numpy(leaf) for name, leaf in leaves.items()}
    method_given = _method(module, method)

    def put(new: Arrays) -> dict[str, Any]:
        undo()  # a state that it keeps inside starts anew
        with torch.no_grad():
            for name, value in new.items():
                leaves[name].copy_(torch.as_tensor(value))
        for leaf in leaves.values():
            leaf.requires_grad_(True)
        return leaves

    def call(*arguments: Any, **keywords: Any) -> Any:
        return method_given(*arguments, **keywords)

    _sign(call, module.forward if method_given is module else method_given)
    said = [m.batch_first for m in module.modules() if isinstance(getattr(m, "batch_first", None), bool)]
    first = any(said) if said else None
    implementation = Implementation(label, call, "torch", arrays, dtype, put, made, batch_first=first)
    implementation.kinds, implementation.traced = modules.kinds(module), modules.scripted(module)
    implementation.numbers = _numbers(module.modules())
    return implementation


def _numbers(objects: Iterable[Any]) -> dict[str, float]:
    """The attributes of objects that are numbers."""
    held = ((k, v) for each in objects for k, v in getattr(each, "__dict__", {}).items())
    return {k: float(v) for k, v in held if isinstance(v, int | float) and not isinstance(v, bool)}


def _sign(call: Callable[..., Any], method: Callable[..., Any]) -> None:
    """Gives a wrapper the arguments and the source of the method that it calls."""
    vars(call).update(__signature__=modules.signature(method), __wrapped__=method)


def _of_function(function: Callable[..., Any], label: str, dtype: str | None) -> Implementation:
    """A function; its arrays are arguments, so only their names are known."""
    library = "torch" if uses_torch(function) else "numpy"
    place: Callable[[np.ndarray], Any] = _tensor if library == "torch" else np.array

    def put(new: Arrays) -> dict[str, Any]:
        return {name: place(value) for name, value in new.items()}

    return Implementation(label, function, library, {}, dtype or "float64", put, True)


def of_cell(cell: GatedCell, sizes: tuple[int, int]) -> Implementation:
    """A cell of the user's, stepped on tensors; its gates may be other than the reference's."""
    if reason := cell.unfit(*sizes):
        raise ValueError(reason)
    cell.verify()
    held: dict[str, Any] = {}

    def put(new: Arrays) -> dict[str, Any]:
        held.update({name: _tensor(value) for name, value in new.items()})
        return held

    def step(x: Any, state: Any) -> tuple[Any, tuple[Any, ...]]:
        values = state if isinstance(state, tuple) else (state,)
        before = State(**dict(zip(cell.states, values, strict=True)))
        output, after = cell.step(cell.effective(held), x, before)
        return output, tuple(getattr(after, name) for name in cell.states)

    label = type(cell).__name__
    arrays = {name: np.zeros(shape) for name, shape in CellArrays(cell, sizes).shapes.items()}
    return Implementation(label, step, "torch", arrays, "float64", put, True, order=cell.gates)


def _attributes(given: Any, inside: tuple[Any, ...] = ()) -> dict[str, tuple[Any, Any, Any]]:
    """(container, key, array) of an object's floating arrays, by name, also of what lies in it."""
    container = given if isinstance(given, dict | list) else getattr(given, "__dict__", {})
    places: dict[str, tuple[Any, Any, Any]] = {}
    for key, value in list(enumerate(container) if isinstance(container, list) else container.items()):
        if _is_array(value):
            places[str(key)] = (container, key, value)
        elif len(inside) < DEEPEST and _may_hold(value) and not any(value is outer for outer in inside):
            places |= {f"{key}.{k}": place for k, place in _attributes(value, (*inside, given)).items()}
    return places


def _may_hold(value: Any) -> bool:
    """Whether arrays may lie in a value: a collection, or an object of somebody's class."""
    plain = isinstance(value, type) or inspect.isroutine(value) or inspect.ismodule(value)
    return isinstance(value, dict | list) or (hasattr(value, "__dict__") and not plain)


def _is_array(value: Any) -> bool:
    if hasattr(value, "detach"):
        return value.is_floating_point() and value.dim() > 0
    kind = getattr(getattr(value, "dtype", None), "kind", "")  # NumPy's, and JAX's
    return kind == "f" and getattr(value, "ndim", 0) > 0


def _as(old: Any, value: np.ndarray) -> Any:
    """The value as an array of the old one's library."""
    if hasattr(old, "detach"):
        return _tensor(value)
    jax = sys.modules.get("jax")
    return jax.numpy.asarray(value) if jax and isinstance(old, jax.Array) else np.array(value)


def _numpy(value: Any) -> np.ndarray:
    if hasattr(value, "detach"):
        value = value.detach().cpu().double().numpy()
    return np.array(value, np.float64)


def _tensor(value: np.ndarray) -> Any:
    import torch

    return torch.as_tensor(np.array(value)).requires_grad_(True)
