"""One reading of each name, so that together they are all of a cell's arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..cell import GatedCell
from .names import Reading

ENOUGH = 20_000  # readings tried before an implementation counts as not understood


def cover(options: Mapping[str, Sequence[Reading]], cell: GatedCell) -> dict[str, Reading] | None:
    """One reading a name, so that every block of both matrices is held exactly once, or None.

    Best of all every name is read and each side that has a bias has it for every gate; else names are left
    out.
    """
    return _cover(options, cell, True) or _cover(options, cell, False)


def _cover(
    options: Mapping[str, Sequence[Reading]], cell: GatedCell, whole: bool
) -> dict[str, Reading] | None:
    """The same with every name read (`whole`), or with names left out."""
    need = (
        {("x", g) for g in cell.gates} | {("h", g) for g in cell.recurrent} | {("v", v) for v in cell.vectors}
    )
    names = sorted(options, key=lambda n: len(options[n]))
    mates = {n: n.removesuffix("bias") + "weight" for n in names if n.endswith(".bias")}
    names = [n for n in names if n not in mates] + list(mates)
    left = ENOUGH

    def slots(reading: Reading) -> set[tuple[str, str]]:
        if reading.side in cell.vectors:
            return {("v", reading.side)}
        sides = {"xh": ("x", "h")}.get(reading.side, (reading.side,))
        return {(s, g) for s in sides for g in reading.gates}

    def search(k: int, used: set, chosen: dict[str, Reading]) -> dict[str, Reading] | None:
        nonlocal left
        left -= 1
        if k == len(names):
            sides = {side for side, _ in used} if whole else set()
            return (
                chosen
                if need | {(s, g) for s in sides & {"bx", "bh"} for g in every(s, cell)} <= used
                else None
            )
        if left < 0:
            return None
        name = names[k]
        possible = list(options[name])
        if mates.get(name) in chosen:  # a Linear's bias belongs to its weight
            mate = chosen[mates[name]]
            side = "bh" if mate.side == "h" else "bx"
            possible = [r for r in possible if r.side == side and set(r.gates) == set(mate.gates)][
                :1
            ] or possible
        for reading in possible:
            taken = slots(reading)
            if not taken & used:
                found = search(k + 1, used | taken, chosen | {name: reading})
                if found is not None:
                    return found
        return None if whole else search(k + 1, used, chosen)

    return search(0, set(), {})


def every(side: str, cell: GatedCell) -> tuple[str, ...]:
    """The gates that an array of this side has where no name says which."""
    return cell.recurrent if side in ("h", "bh") else cell.gates
