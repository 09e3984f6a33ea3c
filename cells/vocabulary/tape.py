"""Reverse mode on NumPy arrays, for what a cell writes beyond pointwise equations.

The operators, `@`, indexing, `reshape`, `swapaxes` and `sum`, the vocabulary of `primitives` and the
functions of `matrices` take NumPy arrays, torch tensors and recorded Values alike, so that a cell's text is
written once for all three.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from itertools import count
from operator import add
from typing import Any

import numpy as np

from .primitives import pullbacks
from .short_axes import summed, times, times_summed

_order = count()  # values are pulled in the reverse of the order in which they were made


class Value:
    """An array that remembers how it was made.

    pull(g, y, *args) gives a cotangent for each argument from that of the value y. `how` has what an op does
    beyond its name: of a view the method with its arguments, of a sum its axis and whether that is kept.
    """

    __slots__ = ("args", "array", "how", "index", "op", "pull")
    __array_ufunc__ = None  # NumPy arrays on the left leave the operator to this class

    def __init__(
        self,
        array: Any,
        op: str = "leaf",
        args: tuple[Any, ...] = (),
        pull: Callable | None = None,
        how: tuple[Any, ...] = (),
    ) -> None:
        self.array, self.op, self.args, self.pull, self.index = array, op, args, pull, next(_order)
        self.how = how

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def dtype(self) -> Any:
        return self.array.dtype

    def __add__(self, other: Any) -> Value:
        return pointwise("+", _plus, self, other)

    def __radd__(self, other: Any) -> Value:
        return pointwise("+", _plus, other, self)

    def __sub__(self, other: Any) -> Value:
        return pointwise("-", _minus, self, other)

    def __rsub__(self, other: Any) -> Value:
        return pointwise("-", _minus, other, self)

    def __mul__(self, other: Any) -> Value:
        return _multiplied(self, other)

    def __rmul__(self, other: Any) -> Value:
        return _multiplied(other, self)

    def __truediv__(self, other: Any) -> Value:
        return pointwise("/", _over, self, other)

    def __rtruediv__(self, other: Any) -> Value:
        return pointwise("/", _over, other, self)

    def __neg__(self) -> Value:
        return pointwise("neg", _negative, self)

    def __pow__(self, exponent: int) -> Value:
        product = self
        for _ in range(exponent - 1):
            product = product * self
        return product

    def __matmul__(self, other: Any) -> Value:
        return _product(self, other)

    def __rmatmul__(self, other: Any) -> Value:
        return _product(other, self)

    def __getitem__(self, key: Any) -> Value:
        return Value(
            self.array[key], "view", (self,), lambda g, y, a: (placed(g, key, a.shape),), ("index", key)
        )

    def reshape(self, *shape: int) -> Value:
        array = self.array.reshape(*shape)
        return Value(array, "view", (self,), lambda g, y, a: (g.reshape(*a.shape),), ("reshape",))

    def swapaxes(self, first: int, second: int) -> Value:
        array, how = self.array.swapaxes(first, second), ("swapaxes", first, second)
        return Value(array, "view", (self,), lambda g, y, a: (g.swapaxes(first, second),), how)

    @property
    def mT(self) -> Value:
        return self.swapaxes(-1, -2)

    def sum(self, axis: Any, keepdims: bool = False) -> Value:
        def pull(g: Any, y: Any, a: Any) -> tuple[Any, ...]:
            wide = g if keepdims else g.reshape(*np.expand_dims(array_of(y), axis).shape)
            return (_spread(wide, a.shape),)

        return Value(summed(self.array, axis, keepdims), "sum", (self,), pull, (axis, keepdims))


Pull = Callable[[Any], list[Any]]


def at_once(
    name: str, function: Callable[..., list[Any]], arrays: Sequence[Any], out: Any = None
) -> tuple[list[Any], Pull]:
    """Runs function(*values) on arrays: its results, and what gives each array's cotangent from theirs.

    The results are written to out[:, :, k] if there is one; then their cotangents may lie in one array too.
    """
    leaves = [Value(array) for array in arrays]
    results = function(*leaves)
    if out is not None:
        for k, result in enumerate(results):
            out[:, :, k] = array_of(result)

    def pull(cotangents: Any) -> list[Any]:
        parts = gates_of(cotangents)
        pairs = [(r, g) for r, g in zip(results, parts, strict=True) if isinstance(r, Value)]
        return gradients([r for r, _ in pairs], [g for _, g in pairs], leaves)

    return list(map(array_of, results)), pull


def gates_of(arrays: Any) -> Sequence[Any]:
    """The gates [:, :, k] of one array, or the arrays themselves."""
    return list(np.moveaxis(arrays, 2, 0)) if isinstance(arrays, np.ndarray) else arrays


def _plus(a: Any, b: Any) -> Any:
    return a + b


def _minus(a: Any, b: Any) -> Any:
    return a - b


def _over(a: Any, b: Any) -> Any:
    return a / b


def _negative(a: Any) -> Any:
    return -a


def array_of(value: Any) -> Any:
    """The array inside a Value; anything else as it is."""
    return value.array if isinstance(value, Value) else value


def pointwise(op: str, function: Callable, *args: Any) -> Value:
    """An operator or a function of the vocabulary on Values, numbers and arrays, with broadcasting."""
    return Value(function(*map(array_of, args)), op, args)


def _multiplied(a: Any, b: Any) -> Value:
    def pull(g: Any, y: Any, a: Any, b: Any) -> tuple[Any, ...]:
        return times_summed(g, b, np.shape(a)), times_summed(g, a, np.shape(b))

    return Value(times(array_of(a), array_of(b)), "*", (a, b), pull)


def _product(a: Any, b: Any) -> Value:
    return Value(
        array_of(a) @ array_of(b),
        "@",
        (a, b),
        lambda g, y, a, b: (g @ b.swapaxes(-1, -2), a.swapaxes(-1, -2) @ g),
    )


def _spread(g: Any, shape: tuple[int, ...]) -> Any:
    """The cotangent of an array that was summed: g along every summed axis."""
    wide = np.broadcast_to(array_of(g), shape)
    return (
        Value(wide, "view", (g,), lambda h, y, g: (_to_shape(h, g.shape),), ("spread",))
        if isinstance(g, Value)
        else wide
    )


def placed(g: Any, key: Any, shape: tuple[int, ...]) -> Any:
    """The cotangent of an array of which `key` was read: g there, 0 elsewhere."""
    full = np.zeros(shape, g.dtype)
    if _basic(key):
        full[key] = array_of(g)
    else:
        np.add.at(full, key, array_of(g))  # an entry may have been read more than once
    if not isinstance(g, Value):
        return full
    return Value(full, "view", (g,), lambda h, y, g: (h[key],), ("placed", key, shape))


def assembled(parts: Sequence[Any], keys: Sequence[Any], shape: tuple[int, ...]) -> Any:
    """The sum of what `placed` makes of each part, without an array for each of them."""
    full = np.zeros(shape, parts[0].dtype)
    for part, key in zip(parts, keys, strict=True):
        full[key] += array_of(part)

    def pull(h: Any, y: Any, *parts: Any) -> tuple[Any, ...]:
        return tuple(h[key] for key in keys)

    return Value(full, "view", tuple(parts), pull, ("assembled", tuple(keys), shape))


def _total(terms: Sequence[Any]) -> Any:
    """The sum of cotangents of one value; those of its slices, where they are recorded, are put together."""
    slices = [t for t in terms if _of_slice(t)]
    if len(slices) > 1:
        whole = assembled([t.args[0] for t in slices], [t.how[1] for t in slices], slices[0].shape)
        terms = [*(t for t in terms if not _of_slice(t)), whole]
    return reduce(add, terms)


def _of_slice(g: Any) -> bool:
    return isinstance(g, Value) and g.how[:1] == ("placed",) and _basic(g.how[1])


def _basic(key: Any) -> bool:
    """Whether a key reads no entry twice."""
    return not any(isinstance(k, np.ndarray) for k in (key if isinstance(key, tuple) else (key,)))


def gradients(
    outputs: Iterable[Value], cotangents: Iterable[Any], wrt: Sequence[Value], *, unsaturated: bool = False
) -> list:
    """Cotangent of each of `wrt`, zeros where nothing depends on it.

    Where cotangents are Values the backward is recorded too.
    """
    terms: dict[Value, list[Any]] = {}

    def gather(value: Value, g: Any) -> None:
        known = terms.setdefault(value, [])
        if known and not isinstance(g, Value):  # arrays are added at once, so that one lies in memory
            known[-1] = known[-1] + g
        else:
            known.append(g)

    for value, g in zip(outputs, cotangents, strict=True):
        gather(value, g)
    for value in recorded(terms):
        if value.op == "leaf" or value not in terms:
            continue
        g = _total(terms[value])
        terms[value] = [g]  # which the end may ask for again
        y, args = (
            (value, value.args) if isinstance(g, Value) else (value.array, tuple(map(array_of, value.args)))
        )
        if value.pull is not None:
            d_args = value.pull(g, y, *args)
        else:
            d_args = [rule(g, y, *args) for rule in pullbacks(value.op, unsaturated)]
        for arg, d in zip(value.args, d_args, strict=True):
            if isinstance(arg, Value):
                gather(arg, _to_shape(d, arg.shape))
    return [_total(terms[v]) if v in terms else np.zeros(v.shape, v.dtype) for v in wrt]


def _to_shape(g: Any, shape: tuple[int, ...]) -> Any:
    """The cotangent of an argument that was broadcast: summed over the axes it was repeated along."""
    if g.shape == shape:
        return g
    extra = len(g.shape) - len(shape)
    axes = tuple(k for k, n in enumerate(g.shape) if k < extra or (shape[k - extra] == 1 and n != 1))
    return (summed(g, axes) if axes else g).reshape(*shape)


def recorded(roots: Iterable[Value]) -> list[Value]:
    """All values that the roots were made of, last first."""
    reach: set[Value] = set()
    todo = list(roots)
    while todo:
        value = todo.pop()
        if value not in reach:
            reach.add(value)
            todo.extend(a for a in value.args if isinstance(a, Value))
    return sorted(reach, key=lambda v: -v.index)
