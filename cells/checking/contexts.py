"""In which surroundings a port's functions are fitted: how it is called, how its arrays are read, which cell.

A context is a candidate whose functions and order of gates are the cell's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import fields, replace
from itertools import combinations, product
from typing import Any

from .assign import EXCHANGED
from .compare import Candidate
from .port import Port
from .stale import stale
from .variants import Variant, changed_arrays, siblings

BY_UNIT = "the rows of packed arrays in the order of units, gates within each"
MOST = 3  # differences beside those of functions and of the order of gates


def contexts(port: Port) -> list[Candidate]:
    """Every context, fewest differences first."""
    every = (
        replace(place, variant=variant)
        for place in _places(port)
        for variant in variants(place)
        if place.differences + len(variant.words) <= MOST
    )
    return sorted(every, key=lambda candidate: candidate.differences)


def _places(port: Port) -> Iterator[Candidate]:
    """Ways to call the port and to read its arrays."""
    ports: list[tuple[tuple[str, ...], Port]] = [((), port), *(((words,), p) for words, p in port.others)]
    for (words, other), layout in product(ports, port.layouts):
        words = (*words, *(w for w in layout.words if w.startswith(EXCHANGED)))
        yield Candidate(other, layout, Variant(layout.cell), words)
        if mixed := layout.interleaved:
            yield Candidate(other, mixed, Variant(mixed.cell), (*words, BY_UNIT))


def variants(place: Candidate) -> Iterator[Variant]:
    """The cell, its siblings, and each with an old state in a new one's place, or with up to two changes to
    its arrays and its initial state.
    """
    for cell in (Variant(place.layout.cell), *siblings(place.layout.cell), *_told(place)):
        changes = list(changed_arrays(cell.cell))
        if not place.port.way.takes_state:
            changes = [change for change in changes if not change.zero]
        yield cell
        yield from stale(cell.cell)
        yield from (_both(cell, change) for change in changes)
        for first, second in combinations(changes, 2):
            if "bias" not in first.words[0] or "bias" not in second.words[0]:
                yield _both(_both(cell, first), second)


def _told(place: Candidate) -> Iterator[Variant]:
    """The cell with the numbers that the port has under the names of the cell's options."""
    cell, numbers = place.layout.cell, place.port.implementation.numbers
    options = {f.name: getattr(cell, f.name) for f in fields(cell)}
    other: dict[str, Any] = {
        name: numbers[name]
        for name, value in options.items()
        if isinstance(value, float) and numbers.get(name, value) != value
    }
    with suppress(ValueError):  # a cell may refuse the value
        spec = ":".join([cell.name, *(f"{name}={value:g}" for name, value in other.items())])
        if other:
            words = f"this is {spec}: check it --against {spec}"
            yield Variant(replace(cell, **other), (words,), (f"compare it with {spec}",))


def _both(first: Variant, second: Variant) -> Variant:
    """The changes of both."""
    made = [variant.arrays for variant in (first, second) if variant.arrays is not None]

    def arrays(params: dict[str, Any]) -> dict[str, Any]:
        for make in made:
            params = make(params)
        return params

    return replace(
        second,
        words=(*first.words, *second.words),
        mends=(*first.mends, *second.mends),
        arrays=arrays if made else None,
        zero=first.zero or second.zero,
    )
