"""Products of many rows with matrices that stay the same, by the product of the steps (`tiles`).

A matrix is packed once. BLAS packs it at every call, and on processors with wide registers also computes
more slowly: on those of 64 bytes OpenBLAS reaches two thirds to three quarters of this product's speed.
"""

from __future__ import annotations

from collections.abc import Hashable
from importlib import import_module

import numpy as np

from ..vocabulary.matrices import plus_product
from . import panels, tiles
from .chunks import most_threads

ROWS = 128  # from which on a matrix is packed: for so many, packing takes as long as the product gains
WORK = 1 << 19  # multiplications, below which a call of BLAS takes less


class Packing:
    """Multiplies rows with matrices, of which it keeps the packed ones by the keys that callers give.

    Where there are several threads, products are BLAS's, which shares them out.
    """

    def __init__(self, dtype: str) -> None:
        self.dtype, self.panel = np.dtype(dtype), import_module(f".{dtype}", __package__).PANEL
        self.alone, self.product = most_threads() == 1, tiles.product(dtype)
        self.packed: dict[Hashable, np.ndarray] = {}

    def multiply(
        self,
        key: Hashable,
        rows: np.ndarray,
        matrix: np.ndarray,
        bias: np.ndarray | None = None,
        out: np.ndarray | None = None,
    ) -> np.ndarray:
        """rows (N, K) times matrix (K, M), plus a bias (M,) or (N, M): (N, M), in `out` if there is one.

        Of one key the matrix is the same until the next `forget`. Rows of arrays may lie apart; `out` may be
        the bias.
        """
        if not self.alone or len(rows) < ROWS or len(rows) * matrix.size < WORK:
            return plus_product(bias, rows, matrix, out)
        if key not in self.packed:
            (self.packed[key],) = panels.packed(matrix.T[None], self.panel)
        sizes = len(rows), *matrix.shape
        start = np.zeros(sizes[-1], self.dtype) if bias is None else bias
        made = np.empty((sizes[0], sizes[-1]), self.dtype) if out is None else out
        rows, start = (a if a.strides[-1] == self.dtype.itemsize else a.copy() for a in (rows, start))
        left, of_left = self._place(rows)
        first, of_first = self._place(start)
        written, of_written = self._place(made)
        weights = self.packed[key].ctypes.data
        self.product(left, of_left, weights, first, of_first, written, of_written, *sizes, 0)
        return made

    def _place(self, array: np.ndarray) -> tuple[int, int]:
        """The address of an array, and the distance of its rows; 0 of a vector, which counts for all rows."""
        return array.ctypes.data, array.strides[0] // self.dtype.itemsize if array.ndim == 2 else 0

    def forget(self) -> None:
        """Forgets the matrices, since others come."""
        self.packed.clear()
