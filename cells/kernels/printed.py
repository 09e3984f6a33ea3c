"""The fused Numba kernels of a cell, or of the widened cell: of one phase or of several."""

from __future__ import annotations

from types import ModuleType

from ..cell import GatedCell
from . import fused, phased


def module(cell: GatedCell, dtype: str) -> ModuleType:
    """The cell's kernels in this dtype: forward, forward_keeping, backward."""
    cell = cell.widened() or cell
    return (fused if cell.pointwise else phased).module(cell, dtype)


def text(cell: GatedCell, dtype: str) -> str:
    """The printed module."""
    cell = cell.widened() or cell
    return (fused if cell.pointwise else phased).text(cell, dtype)
