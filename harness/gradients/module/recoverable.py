"""The loss that an added connection from given features could recover: the Rao score test, on arrays.

With residuals r = -dl/d(output), features phi and the Fisher information F of the outputs, a connection A phi
that starts at zero gains RL = 1/2 tr(S' F^+ S C^+), S = mean r phi', C = Cov(phi), in the loss's second-order
approximation. It is a score: where the loss is not quadratic it can exceed the loss itself. RL is a sum over
pairs of rows; a row with itself is left out, so that one coincidence of a rare class and a rare input is
worth nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

DIRECTIONS = 32  # of the output, those with the largest residuals
PAIRED = 1024  # rows of which all pairs are looked at
FEW = 16  # rows that tell too little of a direction
LEAST = 8  # rows, in fewer of which nothing is scored


@dataclass(frozen=True)
class Residuals:
    """Residuals (R, q) in directions of the output, and their Fisher information (q, q).

    weight   how many rows make one loss term
    """

    rows: np.ndarray
    fisher: np.ndarray
    weight: float

    def score(self, features: np.ndarray) -> tuple[float, float]:
        """(recoverable loss, z) of features (R, d); rows with a NaN are left out. 0 where nothing varies."""
        known = ~np.isnan(features).any(1)
        phi, r = _whitened(features[known]), self.rows[known]
        count, width = phi.shape
        if not width or count < LEAST:
            return 0.0, 0.0
        r = r - r.mean(0)
        inverse = _damped(self.fisher, count)
        gain = _gain(r, inverse, phi)
        deviation = _deviation(r, inverse, width)
        if gain > 2 * deviation > 0:  # else it is no evidence by either measure, and the pairs are dear
            deviation = max(deviation, _of_pairs(r, inverse, phi))
        return float(self.weight * known.mean() * gain), gain / deviation if deviation > 0 else 0.0


def _gain(r: np.ndarray, inverse: np.ndarray, phi: np.ndarray) -> float:
    """1/2 tr(S' F^+ S) of whitened features, without each row's pair with itself."""
    count = len(r)
    s = r.T @ phi / count
    alone = np.einsum("np,pq,nq,nd->", r, inverse, r, phi**2, optimize=True)
    return 0.5 * float(np.einsum("pd,pq,qd->", s, inverse, s) - alone / count**2)


def _deviation(r: np.ndarray, inverse: np.ndarray, width: int) -> float:
    """Of the gain where residuals are permuted over rows: a sum of width x q squares of normal variables."""
    spread = inverse @ (r.T @ r / len(r))
    return float(np.sqrt(2 * width * np.trace(spread @ spread)) / (2 * len(r)))


def _damped(fisher: np.ndarray, count: int) -> np.ndarray:
    """F^+ for a step that is damped in directions with less than FEW / count of the information.

    Such are rare classes. With W = (F + damping)^-1 such a step gains 1/2 tr(S' (2W - W F W) S C^+); in
    directions with much of it that is F^-1.
    """
    w = np.linalg.pinv(
        fisher + np.trace(fisher) * FEW / count * np.eye(len(fisher)), rcond=1e-10, hermitian=True
    )
    return 2 * w - w @ fisher @ w


def _of_pairs(r: np.ndarray, inverse: np.ndarray, phi: np.ndarray) -> float:
    """Deviation of the sum over pairs if each had its own size and a random sign.

    It is the larger one where few rows weigh much.
    """
    some = slice(None, None, -(-len(r) // PAIRED))
    terms = (r[some] @ inverse @ r[some].T) * (phi[some] @ phi[some].T)
    np.fill_diagonal(terms, 0.0)
    return float(np.sqrt(2 * np.mean(terms**2)) / (2 * len(r)))


def fisher_directions(rows: np.ndarray) -> np.ndarray:
    """(K, q): orthonormal directions of the output in which the residuals (R, K) are largest."""
    _, vectors = np.linalg.eigh(rows.T @ rows / len(rows))
    return vectors[:, ::-1][:, :DIRECTIONS].copy()


def _whitened(columns: np.ndarray) -> np.ndarray:
    """Columns that span the centred ones, orthonormal in the mean over rows.

    At most an eighth as many as there are rows, so that no fit can follow single rows.
    """
    centred = columns - columns.mean(0) if len(columns) else columns
    scale = centred.std(0) if len(columns) else np.ones(columns.shape[1])
    centred = centred[:, scale > 1e-9] / scale[scale > 1e-9]
    if not centred.size:
        return centred[:, :0]
    values, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
    keep = values[::-1] > 1e-10 * values[-1]
    keep[max(len(columns) // 8, 1) :] = False
    return centred @ (vectors[:, ::-1][:, keep] / np.sqrt(values[::-1][keep]))
