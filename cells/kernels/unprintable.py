"""Why a cell has no kernel: the one sentence of every command that prints, checks or measures kernels."""

from __future__ import annotations

from ..cell import GatedCell
from .triton import printer

KINDS = ("numba", "triton")


def unprintable(cell: GatedCell, kind: str) -> str | None:
    """Why the cell has no kernels of a kind, without the next step, or None."""
    if cell.library:
        return f"cell {cell.name!r} is a {cell.library} module, without equations, so it has no kernel"
    if cell.written_out and not (kind == "numba" and cell.printable):
        return f"cell {cell.name!r} writes out its step, so it has no kernel of {kind}"
    return printer.without(cell) if kind == "triton" else None
