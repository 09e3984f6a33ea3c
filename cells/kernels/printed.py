"""The fused Numba kernels of any cell with equations, of one phase or of several."""

from __future__ import annotations

from types import ModuleType

from ..cell import GatedCell
from . import fused, phased


def module(cell: GatedCell, dtype: str) -> ModuleType:
    """The cell's kernels in this dtype: forward, forward_keeping, backward."""
    return (fused if cell.pointwise else phased).module(cell, dtype)


def text(cell: GatedCell, dtype: str) -> str:
    """The printed module."""
    return (fused if cell.pointwise else phased).text(cell, dtype)
