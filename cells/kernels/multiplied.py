"""Products of rows with fixed matrices in a recording, each with what is added to it: a bias, or products."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..vocabulary.tape import Value

Users = Mapping[Value, set[Value]]


@dataclass(frozen=True)
class Multiplied:
    """rows (..., K) times a matrix (K, M), plus a bias (M,) or plus what other products gave (..., M).

    What tells the matrix from others is `key`.
    """

    key: str
    rows: Value
    matrix: Value
    start: Value | None = None  # the bias, or what products gave
    within: tuple[Value, ...] = ()  # values that are not computed by themselves

    @property
    def adds(self) -> bool:
        """Whether it is added where other products lie, which nothing else reads."""
        return self.start is not None and len(self.start.shape) > 1


def multiplied(values: Sequence[Value], users: Users, fixed: Sequence[Value]) -> dict[Value, Multiplied]:
    """The products with views of the fixed arrays, by the value that each of them computes."""
    found: dict[Value, Multiplied] = {}
    for value in values:
        if value.op == "@" and (key := _matrix(value.args[1], fixed)):
            found[value] = Multiplied(key, *value.args)
        elif value.op == "+" and (product := _added(value, users, fixed, found)):
            found[value] = product
    inner = {value for product in found.values() for value in product.within}
    return {value: product for value, product in found.items() if value not in inner}


def _matrix(value: Any, fixed: Sequence[Value]) -> str | None:
    """What tells a matrix from others that are views of fixed arrays; None for anything else."""
    seen = _seen(value, fixed)
    return seen if seen and len(value.shape) == 2 else None


def _seen(value: Any, fixed: Sequence[Value]) -> str | None:
    """Which fixed array it is a view of, and how."""
    views = []
    while isinstance(value, Value) and value.op == "view" and len(value.args) == 1:
        views.append((value.shape, *value.how))
        (value,) = value.args
    return f"{fixed.index(value)} {views}" if isinstance(value, Value) and value in fixed else None


def _added(
    value: Value, users: Users, fixed: Sequence[Value], found: Mapping[Value, Multiplied]
) -> Multiplied | None:
    """A product plus a vector of fixed numbers, or plus what products gave and nothing else reads."""
    first, second = value.args
    product = _alone(first, value, users, found)
    if product and _seen(second, fixed) and second.shape == value.shape[-1:]:
        return replace(product, start=second)
    product = _alone(second, value, users, found)
    if product and isinstance(first, Value) and users[first] == {value} and _inner(first) in found:
        return replace(product, start=first)
    return None


def _alone(term: Any, value: Value, users: Users, found: Mapping[Value, Multiplied]) -> Multiplied | None:
    """A product to which nothing is added yet, and which only this value reads."""
    if not isinstance(term, Value) or term.shape != value.shape:
        return None
    inner = _inner(term)
    read_once = users[term] == {value} and (inner is term or users[inner] == {term})
    if inner not in found or found[inner].within or not read_once or inner.shape[-1:] != value.shape[-1:]:
        return None
    return replace(found[inner], within=(term, inner))


def _inner(term: Value) -> Value:
    """What has its rows seen as steps and sequences; else the value itself."""
    return term.args[0] if term.how == ("reshape",) else term
