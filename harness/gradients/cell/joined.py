"""The Jacobian of a step that multiplies or averages values of its own: what it does to vectors, as printed.

No matrix is formed unless it is asked for. Vectors go through the step's own derivative lines.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cellbench.cells import GatedCell
from cellbench.cells.programs.inner import Inner
from cellbench.cells.programs.products import pull_blocks
from cellbench.cells.vocabulary.matrices import blocks

Arrays = dict[str, Any]
Row = tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Joined:
    """Of all steps: keeps, prev and new are (T, B, units) each, as the printed `step` takes them."""

    cell: GatedCell
    used: Arrays
    inner: Inner
    step: Any
    keeps: Row
    prev: Row
    new: Row

    @property
    def size(self) -> int:
        return len(self.prev) * self.prev[0].shape[-1]

    @property
    def steps(self) -> int:
        return len(self.prev[0])

    @property
    def dtype(self) -> np.dtype:
        return self.prev[0].dtype

    def pull(self, t: int, d: np.ndarray) -> np.ndarray:
        return self._pulled(t, d)

    def push(self, t: int, v: np.ndarray) -> np.ndarray:
        cell, d_prev = self.cell, self._by_state(v)
        d_wh: list[np.ndarray] = []
        if cell.fed_gates:
            fed = np.concatenate([d_prev[cell.states.index(name)] for name in cell.fed_back], axis=-1)
            count = len(cell.fed_gates)
            d_wh = np.split(blocks(fed, self.weight, None, cell.heads, count), count, axis=-1)
        more = [self.inner.products()] if self.inner.names else []
        after = self.step.tangent(*self._known(t, v.ndim), d_wh, d_prev, *more)
        return self._joint(after, v.shape)

    def matrices_of(self, steps: slice) -> np.ndarray:
        prev = self.prev[0][steps]
        eye = np.broadcast_to(np.eye(self.size, dtype=self.dtype), (*prev.shape[:2], self.size, self.size))
        return self._pulled(steps, eye)  # row k is what unit k of the new state gets from the old ones

    @property
    def weight(self) -> Any:
        """The rows of weight_hh that multiply the states which are fed back."""
        return self.cell.recurrent_rows(self.used, "weight_hh", self.cell.fed_gates)

    def _pulled(self, at: int | slice, d: np.ndarray) -> np.ndarray:
        cell, outputs = self.cell, self.cell.derivation().outputs
        more = [self.inner.transposed()] if self.inner.names else []
        silent = [np.zeros(())] * len(outputs)
        _, d_wh, d_prev, *_ = self.step.backward(*self._known(at, d.ndim), silent, self._by_state(d), *more)
        before = list(d_prev)
        if cell.fed_gates:
            shape = (*d.shape[:-1], self.prev[0].shape[-1])
            rows = np.stack([np.broadcast_to(g, shape) for g in d_wh], -2)
            back = pull_blocks(rows.reshape(-1, *rows.shape[-2:]), self.weight, cell.heads)
            by_fed = np.split(back.reshape(*d.shape[:-1], -1), len(cell.fed_back), axis=-1)
            for name, share in zip(cell.fed_back, by_fed, strict=True):
                k = cell.states.index(name)
                before[k] = before[k] + share
        return self._joint(before, d.shape)

    def _known(self, at: int | slice, axes: int) -> tuple[Any, ...]:
        """What the printed functions take of these steps, with axes for what lies before the units."""

        def wide(array: np.ndarray) -> np.ndarray:
            rows = array[at]
            return rows.reshape(*rows.shape[:-1], *(1,) * (axes - rows.ndim), rows.shape[-1])

        groups = (tuple(map(wide, group)) for group in (self.keeps, self.prev, self.new))
        return (*groups, self.inner.unit())

    def _by_state(self, joint: np.ndarray) -> list[np.ndarray]:
        return np.split(joint, len(self.prev), axis=-1)

    def _joint(self, by_state: Any, shape: tuple[int, ...]) -> np.ndarray:
        width = (*shape[:-1], self.prev[0].shape[-1])
        return np.concatenate([np.broadcast_to(s, width) for s in by_state], axis=-1)
