"""Tangents of a trajectory, pushed forward and made orthonormal before the fastest hides the others."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cellbench.cells import GatedCell

from .linear import Elementwise, Jacobians, dense, is_wide

# nats that directions may grow apart before they are made orthonormal: the slowest loses e^10 roundings
APART = 10.0
MOST = 8  # steps between two times of making them orthonormal


class Tangents:
    """Orthonormal directions (k, n) of a joint state's differences; one that dies stays dead."""

    def __init__(self, size: int, count: int) -> None:
        self.count, self.alive = count, np.arange(count)
        self.rows = np.linalg.qr(np.random.default_rng(0).standard_normal((size, count)))[0].T.copy()

    def through(self, cell: GatedCell, jacobians: Jacobians) -> np.ndarray:
        """(T, k): log growth of each direction, spread evenly over the steps of a stretch.

        After a stretch they are made orthonormal again, so often that they grow less than 10 nats apart. NaN
        from the step on at which something is not finite.
        """
        move, growth = _mover(cell, jacobians), np.full((jacobians.steps, self.count), -np.inf)
        t, wanted = 0, 1
        while t < jacobians.steps and len(self.alive):
            taken = min(wanted, jacobians.steps - t)
            after, wanted = move(t, t + taken, self.rows), 1
            if np.isfinite(after).all():
                rows, logs, kept = orthonormal(after)
                apart = logs.max(initial=0) - logs.min(initial=0) if len(kept) == len(after) else np.inf
                if taken > 1 and apart > 1.5 * APART:
                    continue  # too far: this stretch again, step by step
                self.rows, self.alive = rows, self.alive[kept]
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

    def move(a: int, b: int, rows: np.ndarray) -> np.ndarray:
        for t in range(a, b):
            rows = jacobians.push(t, rows[None])[0]
        return rows

    return move


def orthonormal(tangents: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(Orthonormal rows for tangents (k, n), the log growth of each, the places of those that are kept).

    Those that are only rounding are left out.

    Units are put in the order of their size first: then the rounding of Householder's reflections is small
    beside each unit's own size, and one that is saturated is not lost in that of the others.
    """
    kept, rounding = np.arange(len(tangents)), tangents.shape[1] * np.finfo(tangents.dtype).eps
    while True:
        sizes = np.abs(tangents[kept]).max(0, initial=0)
        order = np.argsort(-sizes)
        q, r = (_lapack if tangents.dtype == np.float64 else _householder)(tangents[kept][:, order].T)
        grown = np.abs(r)
        lost = np.flatnonzero(grown <= rounding * sizes[order[: len(grown)]])
        if not len(lost):
            break
        # the later ones were made orthogonal to one that is only rounding: again without it
        kept = np.delete(kept, lost[0])
    rows = np.empty_like(q.T)
    rows[:, order] = q.T
    return rows, np.log(grown), kept


def _lapack(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Q of (n, k), Fortran-ordered, and the diagonal of R.

    Without the copies of np.linalg.qr, in half its time at n = 64.
    """
    from scipy.linalg.lapack import dgeqrf, dorgqr  # takes 0.25 s, and every command that runs comes by here

    factors, tau, _, _ = dgeqrf(matrix, overwrite_a=1)
    diagonal = np.diag(factors).copy()
    return dorgqr(factors, tau, overwrite_a=1)[0], diagonal


def _householder(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same in any dtype, the reflections one by one: LAPACK knows no long doubles."""
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
