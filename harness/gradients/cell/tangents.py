"""Tangents of a trajectory, pushed forward and made orthonormal before the fastest hides the others."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.linalg.lapack import dgeqrf, dorgqr

from cellbench.cells import GatedCell

from .linear import Elementwise, Jacobians, dense, is_wide

# nats that directions may grow apart before they are made orthonormal: the smallest loses e^10 roundings,
# 5e-12
APART = 10.0
MOST = 8  # steps without


class Tangents:
    """Orthonormal directions (k, n) of a joint state's differences. A direction that dies is left out: it
    stays dead.
    """

    def __init__(self, size: int, count: int) -> None:
        self.count, self.alive = count, np.arange(count)
        self.rows = np.linalg.qr(np.random.default_rng(0).standard_normal((size, count)))[0].T.copy()

    def through(self, cell: GatedCell, jacobians: Jacobians) -> np.ndarray:
        """(T, k): the log of what each direction grows by, evenly over the steps between two times of making
        them orthonormal.

        That is done as often as keeps them less than 10 nats apart. NaN from the step on at which something
        is not finite.
        """
        move, growth = _mover(cell, jacobians), np.full((jacobians.steps, self.count), -np.inf)
        t, wanted = 0, 1
        while t < jacobians.steps and len(self.alive):
            taken = min(wanted, jacobians.steps - t)
            after, wanted = move(t, t + taken, self.rows), 1
            if np.isfinite(after).all():
                rows, logs, left = orthonormal(after)
                apart = logs.max(initial=0) - logs.min(initial=0) if len(left) == len(after) else np.inf
                if taken > 1 and apart > 1.5 * APART:
                    continue  # too far: this stretch again, step by step
                self.rows, self.alive = rows, self.alive[left]
                growth[t : t + taken, self.alive] = logs / taken
                t += taken
                wanted = max(1, min(MOST, int(APART * taken / max(apart, 1e-3)))) if np.isfinite(apart) else 1
            elif taken == 1:
                growth[t:] = np.nan
                break
        return growth


def _mover(cell: GatedCell, jacobians: Jacobians) -> Callable[[int, int, np.ndarray], np.ndarray]:
    """Pushes tangents (k, n) of one sample forward from one step to another."""
    if isinstance(jacobians, Elementwise) and not is_wide(jacobians):
        from .loops import push_through

        weight = (
            np.zeros((0, 0))
            if jacobians.weight is None
            else np.ascontiguousarray(dense(cell, jacobians.weight).T)
        )
        direct, through = (np.ascontiguousarray(a[..., 0, :]) for a in (jacobians.direct, jacobians.through))
        fed = np.array(jacobians.fed)
        return lambda a, b, rows: push_through(
            direct[a:b], through[a:b], weight, fed, np.asarray(rows, np.float64)
        )

    def move(a, b, rows):
        for t in range(a, b):
            rows = jacobians.push(t, rows[None])[0]
        return rows

    return move


def orthonormal(tangents: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Orthonormal rows for tangents (k, n), the log of what each had grown by, and which are left: not those
    of rounding alone.

    Units are put in the order of their size first: then the rounding of Householder's reflections is small
    beside each unit's own size, and one that is saturated is not lost in that of the others.
    """
    left, rounding = np.arange(len(tangents)), tangents.shape[1] * np.finfo(tangents.dtype).eps
    while True:
        sizes = np.abs(tangents[left]).max(0, initial=0)
        order = np.argsort(-sizes)
        q, r = (_lapack if tangents.dtype == np.float64 else _householder)(tangents[left][:, order].T)
        grown = np.abs(r)
        lost = np.flatnonzero(grown <= rounding * sizes[order[: len(grown)]])
        if not len(lost):
            break
        left = np.delete(
            left, lost[0]
        )  # the others were made orthogonal to what is only rounding: again without it
    rows = np.empty_like(q.T)
    rows[:, order] = q.T
    return rows, np.log(grown), left


def _lapack(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Q of (n, k), Fortran-ordered, and the diagonal of R: without the copies of np.linalg.qr, in half its
    time at n = 64.
    """
    factors, tau, _, _ = dgeqrf(matrix, overwrite_a=1)
    diagonal = np.diag(factors).copy()
    return dorgqr(factors, tau, overwrite_a=1)[0], diagonal


def _householder(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same in any dtype, the reflections one by one."""
    r, (size, count), reflections = matrix.copy(), matrix.shape, []
    q = np.eye(size, count, dtype=matrix.dtype)
    for i in range(count):
        v = r[i:, i].copy()
        v /= np.abs(v).max() or 1.0  # so that no square leaves the range
        v[0] += np.copysign(np.sqrt((v**2).sum()), v[0])
        v /= np.sqrt((v**2).sum()) or 1.0
        r[i:] -= 2 * np.outer(v, v @ r[i:])
        reflections.append(v)
    for i in reversed(range(count)):
        q[i:] -= 2 * np.outer(reflections[i], reflections[i] @ q[i:])
    return q, np.diag(r).copy()
