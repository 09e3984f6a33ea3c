"""The Jacobians of a cell's joint state along a trajectory, and what they do to vectors.

The joint state s is all states side by side, n numbers a sample. For equations around products

    d new_s = sum over s' of direct[s, s'] * d prev_s'  +  sum over g of through[s, g] * (W_g d fed)

where direct and through are elementwise, so that a Jacobian is never formed unless it is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from cellbench.cells import GatedCell
from cellbench.cells.programs.products import pull_blocks
from cellbench.cells.vocabulary.matrices import blocks, by_head

Arrays = dict[str, Any]


class Jacobians(Protocol):
    """ds_t/ds_{t-1} for each step of a stretch, sample by sample."""

    @property
    def size(self) -> int: ...

    @property
    def steps(self) -> int: ...

    @property
    def dtype(self) -> np.dtype: ...

    def pull(self, t: int, d: np.ndarray) -> np.ndarray:
        """J' d: cotangents (B, ..., n) of the state before step t from those after."""
        ...

    def push(self, t: int, v: np.ndarray) -> np.ndarray:
        """J v: tangents (B, ..., n) of the state after step t from those before."""
        ...

    def matrices_of(self, steps: slice) -> np.ndarray:
        """J itself for some of the steps, (T, B, n, n)."""
        ...


@dataclass(frozen=True)
class Elementwise:
    """The Jacobian of equations around products.

    weight    weight_hh; None where the cell has none
    direct    (T, S, S, B, units)
    through   (T, S, G, B, units)
    """

    cell: GatedCell
    weight: np.ndarray | None
    direct: np.ndarray
    through: np.ndarray

    @property
    def size(self) -> int:
        return self.direct.shape[1] * self.direct.shape[-1]

    @property
    def steps(self) -> int:
        return len(self.direct)

    @property
    def dtype(self) -> np.dtype:
        return self.direct.dtype

    @property
    def fed(self) -> list[int]:
        """The places of the states that go through the product."""
        return [self.cell.states.index(name) for name in self.cell.fed_back]

    def pull(self, t: int, d: np.ndarray) -> np.ndarray:
        d = self._by_state(d)  # (S, B, ..., units)
        before = np.einsum("sp...u,s...u->p...u", self._wide(self.direct[t], d), d)
        if self.weight is not None:
            d_wh = np.einsum("sg...u,s...u->...gu", self._wide(self.through[t], d), d)
            rows = pull_blocks(d_wh.reshape(-1, *d_wh.shape[-2:]), self.weight, self.cell.heads)
            by_fed = np.split(rows.reshape(*d.shape[1:-1], -1), len(self.fed), axis=-1)
            for k, d_fed in zip(self.fed, by_fed, strict=True):
                before[k] += d_fed
        return self._joint(before)

    def push(self, t: int, v: np.ndarray) -> np.ndarray:
        v = self._by_state(v)
        after = np.einsum("sp...u,p...u->s...u", self._wide(self.direct[t], v), v)
        if self.weight is not None:
            fed = np.concatenate([v[k] for k in self.fed], axis=-1)
            wh = blocks(fed, self.weight, None, self.cell.heads, len(self.cell.recurrent))
            wh = wh.reshape(*fed.shape[:-1], len(self.cell.recurrent), -1)
            after += np.einsum("sg...u,...gu->s...u", self._wide(self.through[t], v), wh)
        return self._joint(after)

    def matrices_of(self, steps: slice) -> np.ndarray:
        direct = np.moveaxis(self.direct[steps], (3, 1, 2), (1, 2, 4))  # (T, B, S, units, S)
        count, batch, states, units, _ = direct.shape
        matrices = np.zeros((count, batch, states, units, states, units), self.dtype)
        each = np.arange(units)
        matrices[:, :, :, each, :, each] = np.moveaxis(direct, 3, 0)
        if self.weight is not None:
            through = np.moveaxis(self.through[steps], (3, 1, 2), (1, 2, 4))  # (T, B, S, units, G)
            by_gate = dense(self.cell, self.weight).reshape(through.shape[-1], units, len(self.fed), units)
            matrices[:, :, :, :, self.fed] += np.einsum("tbsug,gufv->tbsufv", through, by_gate)
        return matrices.reshape(count, batch, self.size, self.size)

    def _by_state(self, joint: np.ndarray) -> np.ndarray:
        """(S, B, ..., units) of (B, ..., n)."""
        return np.moveaxis(joint.reshape(*joint.shape[:-1], self.direct.shape[1], -1), -2, 0)

    def _joint(self, by_state: np.ndarray) -> np.ndarray:
        """The reverse."""
        moved = np.moveaxis(by_state, 0, -2)
        return moved.reshape(*moved.shape[:-2], -1)

    def _wide(self, coefficients: np.ndarray, like: np.ndarray) -> np.ndarray:
        """(S, X, B, units) with axes for what lies between batch and units."""
        between = (1,) * (like.ndim - 3)
        return coefficients.reshape(*coefficients.shape[:3], *between, coefficients.shape[3])


@dataclass(frozen=True)
class Dense:
    """The Jacobian of a step that is written out: all matrices (T, B, n, n)."""

    matrices: np.ndarray

    @property
    def size(self) -> int:
        return self.matrices.shape[-1]

    @property
    def steps(self) -> int:
        return len(self.matrices)

    @property
    def dtype(self) -> np.dtype:
        return self.matrices.dtype

    def pull(self, t: int, d: np.ndarray) -> np.ndarray:
        return self._times(self.matrices[t].swapaxes(1, 2), d)

    def push(self, t: int, v: np.ndarray) -> np.ndarray:
        return self._times(self.matrices[t], v)

    def matrices_of(self, steps: slice) -> np.ndarray:
        return self.matrices[steps]

    def _times(self, matrices: np.ndarray, v: np.ndarray) -> np.ndarray:
        flat = v.reshape(len(v), -1, self.size)
        return (flat @ matrices.swapaxes(1, 2)).reshape(v.shape)


def dense(cell: GatedCell, weight: np.ndarray) -> np.ndarray:
    """A copy of weight_hh (G * units, F * units) with the zeros between its blocks."""
    if cell.heads == 1:
        return np.array(weight, order="C")
    heads_weights, gates = by_head(weight, cell.heads, len(cell.recurrent)), len(cell.recurrent)
    heads, _, width = heads_weights.shape
    full = np.zeros((gates, heads, width, heads, width))
    for k, block in enumerate(heads_weights):
        full[:, k, :, k, :] = block.reshape(gates, width, width)
    return full.reshape(gates * heads * width, heads * width)


def is_wide(jacobians: Jacobians) -> bool:
    """Whether they are long doubles, which neither the compiled loops nor LAPACK take."""
    return jacobians.dtype != np.float64


def joint(states: list[np.ndarray] | tuple[np.ndarray, ...]) -> np.ndarray:
    """States (B, ...) side by side: (B, n)."""
    return np.concatenate([s.reshape(len(s), -1) for s in states], axis=1)


def split_joint(rows: np.ndarray, shapes: list[tuple[int, ...]]) -> list[np.ndarray]:
    """The reverse: (B, n) as one array (B, *shape) for each shape."""
    edges = np.cumsum([0, *(int(np.prod(s)) for s in shapes)])
    return [rows[:, a:b].reshape(len(rows), *s) for a, b, s in zip(edges, edges[1:], shapes, strict=False)]
