"""Chooses what somebody's arrays are, all names together, where each name may mean several things."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..cell import GatedCell
from .layout import BIASES
from .words import Reading, readings, sideless

ENOUGH = 20_000  # readings tried before an implementation counts as not understood
MORE = 2_000  # readings tried for another way to share out gates, once there is one


def every(side: str, cell: GatedCell) -> tuple[str, ...]:
    """The gates that an array of this side has where no name says which."""
    return cell.recurrent if side in ("h", "bh") else cell.gates


def stem(name: str) -> str:
    """The name without what every torch parameter ends in."""
    return name.removesuffix(".weight").removesuffix(".bias")


def cover(options: Mapping[str, Sequence[Reading]], cell: GatedCell) -> dict[str, Reading] | None:
    """One reading a name, so that every block of both matrices is held exactly once, or None.

    First every name must be read, and a side with a bias have one for every gate. Only where no choice does
    that, names may be left out.
    """
    return next(covers(options, cell, 1), None)


def covers(
    options: Mapping[str, Sequence[Reading]], cell: GatedCell, most: int
) -> Iterator[dict[str, Reading]]:
    """The same, and up to `most` where names say nothing: others that no exchange of gates makes the same."""
    for complete in (True, False):
        search, marks = _Search(options, cell, complete), dict[Any, dict[str, Reading]]()
        for chosen in search.choices(0, frozenset(), {}):
            first = next(iter(marks.values()), chosen)
            said = search.telling & set(chosen)
            if set(chosen) != set(first) or any(chosen[n].gates != first[n].gates for n in said):
                continue
            mark = _without_names(chosen)
            if mark not in marks:
                marks[mark] = chosen
                yield chosen
            if len(marks) == most:
                return
            search.tries = min(search.tries, MORE)
        if marks:
            return


def _without_names(chosen: Mapping[str, Reading]) -> Any:
    """A choice with numbers in place of its gates, in the order in which they come up."""
    numbers: dict[str, int] = {}
    return tuple(
        (
            name,
            chosen[name].side,
            tuple(numbers.setdefault(gate, len(numbers)) for gate in chosen[name].gates),
        )
        for name in sorted(chosen)
    )


Block = tuple[str, str]  # (side, gate), or ("v", name) of a vector


@dataclass
class _Search:
    """A search, depth first, for one reading of each name.

    Names that say a gate come first, so that none else takes it; then those with few readings.
    """

    options: Mapping[str, Sequence[Reading]]
    cell: GatedCell
    complete: bool
    tries: int = field(default=ENOUGH, init=False)

    def __post_init__(self) -> None:
        self.telling = {name for name in self.options if self._says_gate(name)}
        names = sorted(self.options, key=lambda name: (name not in self.telling, len(self.options[name])))
        # a bias comes after its weight, whose side and gates it then shares
        pairs = {name: re.sub(r"bias(?=[^.]*$)", "weight", name) for name in names}
        self.weights = {n: weight for n, weight in pairs.items() if weight != n and weight in pairs}
        self.names = [name for name in names if name not in self.weights] + list(self.weights)
        self.twins = _twins(self.names)
        self.needed = {("x", g) for g in self.cell.gates} | {("h", g) for g in self.cell.recurrent}
        self.needed |= {("v", vector) for vector in self.cell.vectors}

    def _says_gate(self, name: str) -> bool:
        first = self.options[name][0].gates if self.options[name] else ()
        return bool(first) and any(reading.gates == first for reading in readings(stem(name), self.cell))

    def choices(
        self, k: int, used: frozenset[Block], chosen: dict[str, Reading]
    ) -> Iterator[dict[str, Reading]]:
        """Each choice that is right, with readings of the names from the k-th on added."""
        self.tries -= 1
        if k == len(self.names):
            if self._enough(used):
                yield chosen
            return
        if self.tries < 0:
            return
        for reading in self._possible(self.names[k], chosen):
            blocks = self._blocks(reading)
            if not blocks & used:
                yield from self.choices(k + 1, used | blocks, chosen | {self.names[k]: reading})
        if not self.complete:
            yield from self.choices(k + 1, used, chosen)

    def _enough(self, used: frozenset[Block]) -> bool:
        """Whether the blocks are all that the cell needs; complete ones have all of a bias or none of it."""
        biased = {side for side, _ in used if side in BIASES} if self.complete else set()
        return self.needed | {(side, g) for side in biased for g in every(side, self.cell)} <= used

    def _possible(self, name: str, chosen: dict[str, Reading]) -> Sequence[Reading]:
        weight, twin = chosen.get(self.weights.get(name, "")), chosen.get(self.twins.get(name, ""))
        if weight is None:
            gates = set(twin.gates) if twin else set()
            return sorted(self.options[name], key=lambda reading: set(reading.gates) != gates)
        side = "bh" if weight.side == "h" else "bx"
        same = (r for r in self.options[name] if r.side == side and set(r.gates) == set(weight.gates))
        first = next(same, None)
        return self.options[name] if first is None else [first]

    def _blocks(self, reading: Reading) -> frozenset[Block]:
        if reading.side in self.cell.vectors:
            return frozenset({("v", reading.side)})
        sides = ("x", "h") if reading.side == "xh" else (reading.side,)
        return frozenset((side, gate) for side in sides for gate in reading.gates)


def _twins(names: Sequence[str]) -> dict[str, str]:
    """For each of two names that differ in x and h alone, as x2h and h2h do: the other."""
    apart: dict[str, list[str]] = {}
    for name in names:
        apart.setdefault(sideless(name), []).append(name)
    pairs = [pair for pair in apart.values() if len(pair) == 2]
    return {name: other for a, b in pairs for name, other in ((a, b), (b, a))}
