"""The Jacobians of a cell's joint state along a trajectory, in float64 and from pre-activations.

The joint state s is all states side by side, n numbers a sample. For equations around products

    d new_s = sum over s' of direct[s, s'] * d prev_s'  +  sum over g of through[s, g] * (W_g d fed)

where direct and through are elementwise, so that a Jacobian is never formed unless it is asked for. For a step that is written
out, dense Jacobians come off the tape. sech^2 of the pre-activation keeps a saturated unit's derivative from rounding to zero;
where float64 cannot hold it either (|a| > 354), coefficients are long doubles, and all that is made of them is slow and right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from cells import GatedCell, State
from cells.backends.numpy import NumpyProgram, Reference
from cells.kernels import arrays
from cells.matrices import blocks, by_head
from cells.sides import pull_blocks
from cells.tape import Value, array_of, gradients, recorded

from .path import WIDE

Arrays = dict[str, Any]
SQUASHING = ("tanh", "sigmoid", "exp", "softplus", "logsigmoid")
FAR = 50.0  # |a| from which several such derivatives together may leave float64's range
LEAST = 1e-290  # of an entry in float64, so that there is room for a product


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

    def matrices_of(self, part: slice) -> np.ndarray:
        """J itself for some of the steps, (T, B, n, n)."""
        ...


@dataclass(frozen=True)
class Elementwise:
    """Of equations around products. direct (T, S, S, B, units), through (T, S, G, B, units)."""

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

    def pull(self, t, d):
        d = self._by_state(d)  # (S, B, ..., units)
        before = np.einsum("sp...u,s...u->p...u", self._wide(self.direct[t], d), d)
        if self.weight is not None:
            d_wh = np.einsum("sg...u,s...u->...gu", self._wide(self.through[t], d), d)
            rows = pull_blocks(d_wh.reshape(-1, *d_wh.shape[-2:]), self.weight, self.cell.heads)
            for k, part in zip(self.fed, np.split(rows.reshape(*d.shape[1:-1], -1), len(self.fed), axis=-1), strict=True):
                before[k] += part
        return self._joint(before)

    def push(self, t, v):
        v = self._by_state(v)
        after = np.einsum("sp...u,p...u->s...u", self._wide(self.direct[t], v), v)
        if self.weight is not None:
            fed = np.concatenate([v[k] for k in self.fed], axis=-1)
            wh = blocks(fed, self.weight, None, self.cell.heads, len(self.cell.recurrent))
            wh = wh.reshape(*fed.shape[:-1], len(self.cell.recurrent), -1)
            after += np.einsum("sg...u,...gu->s...u", self._wide(self.through[t], v), wh)
        return self._joint(after)

    def matrices_of(self, part):
        direct = np.moveaxis(self.direct[part], (3, 1, 2), (1, 2, 4))  # (T, B, S, units, S)
        steps, batch, states, units, _ = direct.shape
        whole = np.zeros((steps, batch, states, units, states, units), self.dtype)
        each = np.arange(units)
        whole[:, :, :, each, :, each] = np.moveaxis(direct, 3, 0)
        if self.weight is not None:
            through = np.moveaxis(self.through[part], (3, 1, 2), (1, 2, 4))  # (T, B, S, units, G)
            by_gate = dense(self.cell, self.weight).reshape(through.shape[-1], units, len(self.fed), units)
            whole[:, :, :, :, self.fed] += np.einsum("tbsug,gufv->tbsufv", through, by_gate)
        return whole.reshape(steps, batch, self.size, self.size)

    def _by_state(self, joint):
        return np.moveaxis(joint.reshape(*joint.shape[:-1], self.direct.shape[1], -1), -2, 0)

    def _joint(self, by_state):
        moved = np.moveaxis(by_state, 0, -2)
        return moved.reshape(*moved.shape[:-2], -1)

    def _wide(self, coefficients, like):
        """(S, X, B, units) with axes for what lies between batch and units."""
        between = (1,) * (like.ndim - 3)
        return coefficients.reshape(*coefficients.shape[:3], *between, coefficients.shape[3])


@dataclass(frozen=True)
class Dense:
    """Of a step that is written out: all matrices (T, B, n, n)."""

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

    def pull(self, t, d):
        return self._times(self.matrices[t].swapaxes(1, 2), d)

    def push(self, t, v):
        return self._times(self.matrices[t], v)

    def matrices_of(self, part):
        return self.matrices[part]

    def _times(self, matrices, v):
        flat = v.reshape(len(v), -1, self.size)
        return (flat @ matrices.swapaxes(1, 2)).reshape(v.shape)


def dense(cell: GatedCell, weight: np.ndarray) -> np.ndarray:
    """weight_hh (G * units, F * units) with the zeros between its blocks."""
    if cell.heads == 1:
        return np.ascontiguousarray(weight)
    parts, gates = by_head(weight, cell.heads, len(cell.recurrent)), len(cell.recurrent)
    heads, _, width = parts.shape
    full = np.zeros((gates, heads, width, heads, width))
    for k, part in enumerate(parts):
        full[:, k, :, k, :] = part.reshape(gates, width, width)
    return full.reshape(gates * heads * width, heads * width)


def linearise(cell: GatedCell, params: Arrays, x: np.ndarray, path: list[np.ndarray]) -> Jacobians:
    """The Jacobians along a trajectory: x (T, B, I), path the states (T + 1, B, ...), one array a state, in their order."""
    made, far = _jacobians(cell, params, x, path, "float64")
    if not far:
        return made
    wide, _ = _jacobians(cell, params, x, path, WIDE)
    return wide if _beyond_float64(wide) else made


def is_wide(jacobians: Jacobians) -> bool:
    """Whether they are long doubles, which neither the compiled loops nor LAPACK take."""
    return jacobians.dtype != np.float64


def underflows(cell: GatedCell, params: Arrays, x: np.ndarray, program: Reference, path: list[np.ndarray]) -> bool:
    """Whether some derivative of a program's forward may be too small for float64."""
    if isinstance(program, NumpyProgram):
        return is_wide(linearise(cell, params, x, path))
    return any(_far_on_tape([*ends.values()]) for *_, ends in program.records)


def _jacobians(cell, params, x, path, dtype) -> tuple[Jacobians, bool]:
    """In this dtype, and whether the argument of a squashing function is far out."""
    used = {k: np.asarray(v, dtype) for k, v in cell.effective({k: np.asarray(v, dtype) for k, v in params.items()}).items()}
    x, path = np.asarray(x, dtype), [np.asarray(s, dtype) for s in path]
    if cell.written_out:
        found = [_dense(cell, used, x[t], [s[t] for s in path]) for t in range(len(x))]
        return Dense(np.stack([matrix for matrix, _ in found])), any(far for _, far in found)
    return _elementwise(cell, used, x, path)


def _elementwise(cell: GatedCell, used: Arrays, x: np.ndarray, path: list[np.ndarray]) -> tuple[Elementwise, bool]:
    prev, new = tuple(s[:-1] for s in path), tuple(s[1:] for s in path)
    wx, wh = cell.project(used, x), cell.recur(used, State(**dict(zip(cell.states, prev, strict=True))))
    unit = tuple(used[name] for name in cell.vectors)
    step = arrays.module(cell, unsaturated=True)
    _, _, keeps = step.forward(tuple(getattr(wx, g) for g in cell.gates), tuple(vars(wh).values()), prev, unit)
    silent = [np.zeros(())] * len(cell.derivation().outputs)
    shape, states, gates = prev[0].shape, len(cell.states), len(cell.recurrent)
    direct = np.empty((len(x), states, states, *shape[1:]), x.dtype)
    through = np.empty((len(x), states, gates, *shape[1:]), x.dtype)
    for s in range(states):
        seed = tuple(np.full(shape, k == s, x.dtype) for k in range(states))
        _, d_wh, d_prev, _ = step.backward(keeps, prev, new, unit, silent, seed)
        for whole, parts in ((direct, d_prev), (through, d_wh)):
            for k, part in enumerate(parts):
                whole[:, s, k] = part
    squashes = any(node.op in SQUASHING for node in cell.derivation().forward)
    far = squashes and any(np.abs(k).max(initial=0) > FAR for k in keeps)
    return Elementwise(cell, used.get("weight_hh") if cell.recurrent else None, direct, through), far


def _dense(cell: GatedCell, used: Arrays, x: np.ndarray, state: list[np.ndarray]) -> tuple[np.ndarray, bool]:
    """(B, n, n) of one step: each sample n times over, each copy pulled back from one unit of the new state."""
    batch = len(x)
    size = sum(s[0].size for s in state)
    copies = [Value(np.repeat(s, size, axis=0)) for s in state]
    _, new = cell.step(used, np.repeat(x, size, axis=0), State(**dict(zip(cell.states, copies, strict=True))))
    ends = [getattr(new, name) for name in cell.states]
    seeds = split_joint(np.tile(np.eye(size, dtype=x.dtype), (batch, 1)), [s.shape[1:] for s in state])
    made = [(v, d) for v, d in zip(ends, seeds, strict=True) if isinstance(v, Value)]
    rows = gradients([v for v, _ in made], [d for _, d in made], copies, unsaturated=True)
    return joint(rows).reshape(batch, size, size), _far_on_tape(ends)


def _far_on_tape(ends: list[Any]) -> bool:
    values = recorded([v for v in ends if isinstance(v, Value)])
    return any(np.abs(array_of(v.args[0])).max(initial=0) > FAR for v in values if v.op in SQUASHING)


def _beyond_float64(wide: Jacobians) -> bool:
    entries = (wide.direct, wide.through) if isinstance(wide, Elementwise) else (wide.matrices,)  # type: ignore[attr-defined]
    return any(bool(((np.abs(a) < LEAST) & (a != 0)).any()) for a in entries)


def joint(states: list[np.ndarray] | tuple[np.ndarray, ...]) -> np.ndarray:
    """States (B, ...) side by side: (B, n)."""
    return np.concatenate([s.reshape(len(s), -1) for s in states], axis=1)


def split_joint(rows: np.ndarray, shapes: list[tuple[int, ...]]) -> list[np.ndarray]:
    """The reverse: (B, n) as one array (B, *shape) for each shape."""
    edges = np.cumsum([0, *(int(np.prod(s)) for s in shapes)])
    return [rows[:, a:b].reshape(len(rows), *s) for a, b, s in zip(edges, edges[1:], shapes, strict=False)]
