"""A recorded expression of arrays as one loop nest, printed: no part of it lies in memory.

A nest goes over all numbers of an expression, and reads arrays that are broadcast into it where they lie.
Sums are made in it too. Axes side by side that all arrays have or lack together are one loop.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..vocabulary.graph import Node, Tape
from ..vocabulary.primitives import OPERATORS, VOCABULARY
from ..vocabulary.tape import Value
from .printing import assignments, plain_number

Axes = tuple[bool, ...]  # which of a nest's axes an array has
POINTWISE = {*OPERATORS, *VOCABULARY}
RESERVED = {*VOCABULARY, "out", "total", "plus", "range", "real", "np", "njit", "OPTIONS", "ZERO"}
LEAD = 2  # axes of what has a row for each step and sequence
OUT = "out"


@dataclass(frozen=True)
class Place:
    """An array of a nest: its name, its axes, and its gate where it lies in one array with other gates."""

    name: str
    source: Any  # a Value, or a fixed array
    axes: Axes
    gate: int | None = None

    def index(self, of_loops: Mapping[int, Any], single: Any, of_gate: Any) -> list[Any]:
        """For each axis as it is passed: what there is of its loop, of a single number, or of the gates."""
        own = {k: value for k, value in of_loops.items() if self.axes[k]}
        if self.gate is None:
            return list(own.values()) or [single]
        lead, units = [[v for k, v in own.items() if (k < LEAD) is first] for first in (True, False)]
        return [*(lead or [single]), of_gate, *(units or [single])]


@dataclass(frozen=True)
class Nest:
    """One expression: what it reads, what it writes, and the form in which it takes each of these arrays."""

    root: Value
    out: Place
    reads: tuple[Place, ...]
    forms: tuple[tuple[int, ...], ...]  # that of the result first
    lines: tuple[str, ...]  # of the printed function, without its head

    @property
    def sums(self) -> bool:
        return self.root.op == "sum"

    @property
    def plain(self) -> bool:
        """Whether it is one sum, or one operator on arrays of one shape, which NumPy computes as fast."""
        whole = [arg for arg in self.root.args if isinstance(arg, Value)]
        alone = all(any(arg is read.source for read in self.reads) for arg in whole)
        operator = self.root.op in OPERATORS and self.out.gate is None and len(set(self.forms)) == 1
        return alone and (self.sums or operator)

    def text(self, name: str) -> str:
        """The printed function: result, then what it reads, each C-contiguous in its form."""
        arrays = ", ".join(place.name for place in (self.out, *self.reads))
        return "\n".join(["@njit(nogil=True, **OPTIONS)", f"def {name}({arrays}):", *self.lines])


def shape_of(value: Any) -> tuple[int, ...]:
    return np.shape(value.array if isinstance(value, Value) else value)


def nest(
    root: Value, inlined: Collection[Value], read: Mapping[Value, int], written: Mapping[Value, int]
) -> Nest:
    """The nest of a pointwise value or a sum, over all values inside it that are `inlined`.

    Of values (T, B, units) that lie side by side in one array, `read` and `written` have the places there.
    """
    body = root.args[0] if root.op == "sum" else root
    shape, summed = shape_of(body), summed_axes(root)
    tape, nodes = Tape(), {}
    reads: list[Place] = []

    def node(value: Any) -> Any:
        if not isinstance(value, Value) and np.ndim(value) == 0:
            return float(value)
        if isinstance(value, Value) and (value is root or value in inlined) and value.op in POINTWISE:
            if value not in nodes:
                nodes[value] = tape.apply(value.op, *map(node, value.args))
            return nodes[value]
        while isinstance(value, Value) and value.how == ("spread",):
            (value,) = value.args
        known = next((place for place in reads if place.source is value), None)
        if known is None:
            known = Place(f"a{len(reads)}", value, _axes(shape_of(value), shape), _gate(value, shape, read))
            reads.append(known)
        return tape.input(known.name)

    whole = node(body)
    axes = tuple(size > 1 and k not in summed for k, size in enumerate(shape))
    places = [Place(OUT, root, axes, written.get(root)), *reads]
    loops = _loops(shape, places)
    forms = [tuple(place.index(loops, 1, -1)) for place in places]  # -1: as many gates as there are
    lines = _lines(whole, list(loops), places, root.op == "sum")
    return Nest(root, places[0], tuple(reads), tuple(forms), tuple(lines))


def _gate(value: Any, shape: tuple[int, ...], gates: Mapping[Value, int]) -> int | None:
    """The place of a value among gates, of which a nest may see the units as several axes."""
    if not isinstance(value, Value) or len(value.shape) != len(shape):
        return None
    return gates.get(unsplit(value))


def unsplit(value: Value) -> Value:
    """What a value is a reshape of, if that leaves steps and sequences alone; else itself."""
    split = value.how == ("reshape",) and value.shape[:LEAD] == value.args[0].shape[:LEAD]
    return value.args[0] if split else value  # type: ignore[no-any-return]


def summed_axes(value: Value) -> frozenset[int]:
    """The axes that a sum takes together, as numbers from 0; none for another value."""
    if value.op != "sum":
        return frozenset()
    axis, axes = value.how[0], len(shape_of(value.args[0]))
    return frozenset(k % axes for k in (axis if isinstance(axis, tuple) else (axis,)))


def _axes(of: tuple[int, ...], shape: tuple[int, ...]) -> Axes:
    """Which axes of a shape an array has that is broadcast into it."""
    aligned = (1,) * (len(shape) - len(of)) + of
    return tuple(size > 1 for size in aligned)


def _loops(shape: tuple[int, ...], places: Sequence[Place]) -> dict[int, int]:
    """The loops, each by its first axis, and the numbers it goes over."""
    gates = any(place.gate is not None for place in places)
    loops: dict[int, int] = {}
    for k, size in enumerate(shape):
        first = next(reversed(loops), None)
        if size == 1:
            continue
        if (
            first is not None
            and not (gates and first < LEAD <= k)
            and all(p.axes[k] == p.axes[first] for p in places)
        ):
            loops[first] *= size
        else:
            loops[k] = size
    return loops


def _lines(whole: Node, loops: Sequence[int], places: Sequence[Place], sums: bool) -> list[str]:
    """The loops with what they compute."""
    variables = {axis: f"i{k}" for k, axis in enumerate(loops)}
    index = {place.name: place.index(variables, "0", str(place.gate)) for place in places}
    at = {name: f"{name}[{', '.join(each)}]" for name, each in index.items()}
    known = {whole.tape.input(name): text for name, text in at.items()}
    body, variable = assignments([whole], known, {}, _number, {*RESERVED, *variables.values()})
    value, target = variable[whole], at[OUT]
    alone = sums and bool(loops) and not places[0].axes[loops[-1]]  # the inner loop adds to one number
    lines, indent = [], "    "
    for axis, name in variables.items():
        if alone and axis == loops[-1]:
            lines.append(f"{indent}total = ZERO")
        array = next(place.name for place in places if place.axes[axis])
        lines.append(f"{indent}for {name} in range({array}.shape[{index[array].index(name)}]):")
        indent += "    "
    write = f"total = plus(total, {value})" if alone else f"{target} {'+=' if sums else '='} {value}"
    lines += [indent + line for line in (*body, write)]
    return [*lines, f"{indent[4:]}{target} += total"] if alone else lines


def _number(value: float) -> str:
    return f"real({plain_number(value)})"
