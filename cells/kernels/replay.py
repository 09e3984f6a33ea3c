"""What a cell writes for whole arrays, such as `project`, recorded once and replayed on new arrays.

Products with matrices that stay the same are the step's (`packing`), others NumPy's. Everything else of some
size is a loop nest, compiled once a machine. What the function computes and its gradients are one recording,
so that nothing is computed twice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from operator import add, matmul, neg, sub, truediv
from typing import Any

import numpy as np

from ..vocabulary.primitives import VOCABULARY
from ..vocabulary.short_axes import summed, times
from ..vocabulary.tape import (
    Pull,
    Value,
    array_of,
    assembled,
    at_once,
    gates_of,
    gradients,
    placed,
    recorded,
)
from . import shared
from .compiling import compile_for
from .modules import load
from .multiplied import Multiplied, multiplied
from .nests import POINTWISE, Nest, nest, shape_of, unsplit
from .packing import Packing

SUM = "float64"  # of sums over all steps and sequences
SMALL = 4096  # numbers, from which on a nest is compiled
OPERATORS: dict[str, Callable] = {"+": add, "-": sub, "*": times, "/": truediv, "neg": neg, "@": matmul}
PLUS = """@njit(**{**OPTIONS, "fastmath": {"contract", "reassoc"}})
def plus(total, value):
    return total + value"""
Function = Callable[..., list[Any]]
Values = dict[Any, Any]  # by Value, and of the arrays that have all gates by these two
WRITTEN, READ = "written", "read"
Step = Callable[[Values], None]
Multiply = Callable[..., np.ndarray]  # as that of `Packing`


@dataclass(frozen=True)
class Replay:
    """A recorded function of arrays, as steps; what a forward computed is kept for a pull."""

    leaves: tuple[Value, ...]
    results: tuple[Any, ...]
    cotangents: tuple[Value, ...]
    pulled: tuple[Any, ...]
    forwards: tuple[Step, ...]
    backwards: tuple[Step, ...]

    def forward(self, arrays: Sequence[np.ndarray], out: np.ndarray | None) -> tuple[list[Any], Values]:
        """The results, written to out[:, :, k] too if there is one, and all that was computed."""
        values: Values = dict(zip(self.leaves, arrays, strict=True))
        values[WRITTEN] = out
        for step in self.forwards:
            step(values)
        results = [_found(value, values) for value in self.results]
        if out is not None:
            for k, result in enumerate(results):
                if np.ndim(result) == 0 or not np.may_share_memory(result, out):
                    out[:, :, k] = result
        return results, values

    def pull(self, forward: Values, cotangents: Sequence[np.ndarray] | np.ndarray) -> list[np.ndarray]:
        """The cotangent of each array, from those of the results, which may be the gates of one array."""
        parts = gates_of(cotangents)
        given = [g for r, g in zip(self.results, parts, strict=True) if isinstance(r, Value)]
        values = forward | dict(zip(self.cotangents, given, strict=True))
        values[READ] = cotangents
        for step in self.backwards:
            step(values)
        return [_found(value, values) for value in self.pulled]


def record(
    name: str,
    function: Function,
    arrays: Sequence[np.ndarray],
    keeping: bool,
    out: np.ndarray | None,
    fixed: int,
    multiply: Multiply,
) -> Replay | None:
    """Records a function on arrays of these shapes, and its gradients if a backward is `keeping`.

    function(*values) returns a list of results, which are the gates of `out` if there is one. The first
    `fixed` arrays stay the same, and products with them are those of `multiply`. None where the function does
    what is not replayed.
    """
    leaves = tuple(Value(array) for array in arrays)
    results = tuple(function(*leaves))
    roots = [r for r in results if isinstance(r, Value)]
    forward = recorded(roots)
    whole = out is None or all(r.shape == out[:, :, 0].shape for r in roots)
    if not (whole and all(map(_known, forward))):
        return None
    cotangents = tuple(Value(np.zeros(r.shape, r.dtype)) for r in roots) if keeping else ()
    pulled = tuple(gradients(roots, cotangents, leaves)) if keeping else ()
    ends = [*roots, *(g for g in pulled if isinstance(g, Value))]
    values = recorded(ends)[::-1]
    users = _users(values)
    places = [k for k, r in enumerate(results) if isinstance(r, Value) and out is not None]
    read = dict(zip(cotangents, places, strict=False))
    once = {results[k]: k for k in places if roots.count(results[k]) == 1}
    given = {*leaves, *cotangents}
    read_by = users | {v: users[v] | {v} for v in ends}  # an end is read by the caller, too
    products = multiplied(values, read_by, leaves[:fixed])
    inlined = (_inlined(users, ends) - products.keys()).union(*(p.within for p in products.values()))
    within = _Within(inlined, read, _written(once, users, products), products, multiply)
    steps = _steps(name, [v for v in values if v not in given], within)
    for value in values:  # what was computed while recording is not needed
        value.array = np.broadcast_to(np.zeros((), value.dtype), value.shape)
    of_forward = set(forward)
    first = tuple(step for v, step in steps.items() if v in of_forward)
    then = tuple(step for v, step in steps.items() if v not in of_forward)
    return Replay(leaves, results, cotangents, pulled, first, then)


@dataclass(frozen=True)
class _Within:
    """What has no step of its own, and which values are read from, and written to, the arrays of gates.

    Products with a fixed matrix are `multiply`'s.
    """

    inlined: set[Value]
    read: dict[Value, int]
    written: dict[Value, int]
    products: dict[Value, Multiplied]
    multiply: Multiply

    def step_of(self, value: Value) -> Step:
        """What computes a value without a compiled nest."""
        if value in self.products:
            return _of_product(value, self.products[value], self.written.get(value), self.multiply)
        return _of_numpy(value)


def _known(value: Value) -> bool:
    return value.op in {"leaf", "@", "sum", *POINTWISE} or (
        value.op == "view" and value.how[:1] != () and value.how[0] in VIEWS
    )


def _found(key: Any, values: Values) -> Any:
    return values[key] if isinstance(key, (Value, str)) else key


def _steps(name: str, values: Sequence[Value], within: _Within) -> dict[Value, Step]:
    """What computes each value, in order; a value that lies within a nest has no step of its own."""
    alone = [v for v in values if v not in within.inlined]
    worth = [v for v in alone if v not in within.products and _worth(v)]
    nests = {v: nest(v, within.inlined, within.read, within.written) for v in worth}
    nests = {v: each for v, each in nests.items() if not each.plain}
    functions = dict(zip(nests, _compiled(name, list(nests.values())), strict=True))
    return {v: _of_nest(nests[v], functions[v]) if v in nests else within.step_of(v) for v in alone}


def _users(values: Sequence[Value]) -> dict[Value, set[Value]]:
    users: dict[Value, set[Value]] = {value: set() for value in values}
    for value in values:
        for arg in value.args:
            if isinstance(arg, Value):
                users[arg].add(value)
    return users


def _inlined(users: dict[Value, set[Value]], ends: Sequence[Value]) -> set[Value]:
    """Pointwise values that one nest alone needs, and as widely as they are."""
    alone = {value: next(iter(every)) for value, every in users.items() if len(every) == 1}
    return {
        value
        for value, user in alone.items()
        if value.op in POINTWISE and value not in ends and _worth(user) and _takes(user, value)
    }


def _written(
    places: dict[Value, int], users: dict[Value, set[Value]], products: dict[Value, Multiplied]
) -> dict[Value, int]:
    """Values that are results and nothing else: no pull reads them, when their array holds other numbers."""
    written = {}
    for result, place in places.items():
        flat = result.args[0] if result.how == ("reshape",) else result
        value = flat if flat in products else unsplit(result)
        # a row of a product is one of the array
        known = value.shape[-1] == result.shape[-1] if value in products else value.op in POINTWISE
        if not users[result] and users[value] <= {result} and known:
            written[value] = place
    return written


def _takes(user: Value, value: Value) -> bool:
    return user.op == "sum" or (user.op in POINTWISE and user.shape == value.shape)


def _worth(value: Value) -> bool:
    """Whether it is a pointwise value or a sum, over so many numbers that a nest is compiled."""
    if value.op not in POINTWISE | {"sum"}:
        return False
    return math.prod(shape_of(value.args[0]) if value.op == "sum" else value.shape) >= SMALL


def _compiled(name: str, nests: Sequence[Nest]) -> list[Callable[..., None]]:
    """The nests' functions, in one module."""
    if not nests:
        return []
    dtype = nests[0].root.dtype.name
    shared.module(dtype)  # whose functions these import
    title = f"What {name!r} computes of whole arrays in {dtype}, printed from its own text."
    functions = [each.text(f"nest_{k}") for k, each in enumerate(nests)]
    module = load(f"numba_{name}_{dtype}_arrays", shared.kernel(dtype, title, PLUS, *functions))
    compiled = [getattr(module, f"nest_{k}") for k in range(len(nests))]
    for function, each in zip(compiled, nests, strict=True):
        out, *reads = [np.empty([1] * len(form), dtype) for form in each.forms]
        compile_for(function, [out.astype(SUM) if each.sums else out, *reads])
    return compiled


def _of_nest(each: Nest, function: Callable[..., None]) -> Step:
    root, gate, dtype, shape = each.root, each.out.gate, each.root.dtype, each.root.shape
    form, *forms = each.forms
    sources = [place.source if place.gate is None else READ for place in each.reads]
    reads = list(zip(sources, forms, strict=True))

    def step(values: Values) -> None:
        if gate is not None:
            out = values[WRITTEN].reshape(form)
        else:
            out = np.zeros(form, SUM) if each.sums else np.empty(form, dtype)
        function(out, *(np.ascontiguousarray(_found(key, values)).reshape(form) for key, form in reads))
        made = values[WRITTEN][:, :, gate] if gate is not None else out.astype(dtype, copy=False)
        values[root] = made.reshape(shape)

    return step


def _of_product(value: Value, each: Multiplied, gate: int | None, multiply: Multiply) -> Step:
    shape, outputs = value.shape, value.shape[-1]

    def step(values: Values) -> None:
        rows, matrix, start = (_found(array, values) for array in (each.rows, each.matrix, each.start))
        out = None
        if each.adds:
            start = out = start.reshape(-1, outputs)
        elif gate is not None:
            out = values[WRITTEN][:, :, gate].reshape(-1, outputs)
        made = multiply(each.key, rows.reshape(-1, rows.shape[-1]), matrix, start, out)
        values[value] = made.reshape(shape)

    return step


def _of_numpy(value: Value) -> Step:
    function = _function(value)

    def step(values: Values) -> None:
        values[value] = function(*(_found(arg, values) for arg in value.args))

    return step


def _function(value: Value) -> Callable[..., Any]:
    """What computes a value from its arguments."""
    if value.op == "leaf":  # a fixed array
        array = value.array
        return lambda: array
    if value.op == "view":
        return VIEWS[value.how[0]](value.shape, *value.how[1:])
    if value.op == "sum":
        return lambda a: summed(a, *value.how)
    return OPERATORS[value.op] if value.op in OPERATORS else VOCABULARY[value.op].numpy


def _concatenate(shape: tuple[int, ...], axis: int) -> Callable[..., Any]:
    return lambda *arrays: np.concatenate(arrays, axis)


def _assembled(shape: tuple[int, ...], keys: Sequence[Any], whole: Any) -> Callable[..., Any]:
    return lambda *parts: array_of(assembled(parts, keys, whole))


VIEWS: dict[str, Callable[..., Callable[..., Any]]] = {
    "reshape": lambda shape: lambda a: a.reshape(shape),
    "swapaxes": lambda shape, first, second: lambda a: a.swapaxes(first, second),
    "index": lambda shape, key: lambda a: a[key],
    "spread": lambda shape: lambda a: np.broadcast_to(a, shape),
    "placed": lambda shape, key, whole: lambda a: placed(a, key, whole),
    "assembled": _assembled,
    "concatenate": _concatenate,
}


class Replays:
    """Runs one program's functions of whole arrays: recorded once for each name and the arrays' shapes."""

    def __init__(self, name: str, keeping: bool, dtype: str) -> None:
        self.name, self.keeping, self.packing = name, keeping, Packing(dtype)
        self.multiply = self.packing.multiply
        self.known: dict[Any, Replay | None] = {}

    def anew(self) -> Replays:
        """The same, for other arrays in the place of those that stay the same."""
        self.packing.forget()
        return self

    def run(
        self,
        name: str,
        function: Function,
        arrays: Sequence[np.ndarray],
        out: np.ndarray | None = None,
        fixed: int = 0,
    ) -> tuple[list[Any], Pull]:
        """As `at_once`. The first `fixed` arrays are the same until `anew`."""
        key = name, tuple(array.shape for array in arrays)
        if key not in self.known:
            given = arrays, self.keeping, out, fixed, self.multiply
            self.known[key] = record(self.name, function, *given)
        replay = self.known[key]
        if replay is None:
            return at_once(name, function, arrays, out)
        results, values = replay.forward(arrays, out)
        return results, partial(replay.pull, values)
