"""How much loss an added connection from given features could recover: the Rao score test, on arrays.

With residuals r = -dl/d(output), features phi and the Fisher information F of the outputs, a connection A phi that starts at zero
gains RL = 1/2 tr(S' F^+ S C^+), S = mean r phi', C = Cov(phi), in the loss's second-order approximation. It is a score: where the
loss is not quadratic it can exceed the loss itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

DIRECTIONS = 32  # of the output, those with the largest residuals


@dataclass(frozen=True)
class Residuals:
    """Residuals (R, q) in directions of the output, their Fisher information (q, q), and how many rows make one loss term."""

    rows: np.ndarray
    fisher: np.ndarray
    weight: float

    def score(self, features: np.ndarray) -> tuple[float, float]:
        """(recoverable loss, z) of features (R, d); rows with a NaN are left out. 0 where nothing varies.

        The mean of RL under permuted residuals, tr(F^+ Cov r) d / 2n, is subtracted, and z is against their deviation.
        """
        known = ~np.isnan(features).any(1)
        phi, r = _whitened(features[known]), self.rows[known]
        count, width = phi.shape
        if not width or count < 8:
            return 0.0, 0.0
        r = r - r.mean(0)
        inverse = np.linalg.pinv(self.fisher, rcond=1e-10, hermitian=True)
        s = r.T @ phi / count
        spread = inverse @ (r.T @ r / count)
        raw = 0.5 * float(np.einsum("pd,pq,qd->", s, inverse, s))
        null, deviation = width * np.trace(spread) / (2 * count), np.sqrt(2 * width * np.trace(spread @ spread)) / (2 * count)
        share = self.weight * known.mean()
        return float(share * (raw - null)), float((raw - null) / deviation) if deviation > 0 else 0.0


def fisher_directions(rows: np.ndarray) -> np.ndarray:
    """(K, q): orthonormal directions of the output in which the residuals (R, K) are largest."""
    _, vectors = np.linalg.eigh(rows.T @ rows / len(rows))
    return vectors[:, ::-1][:, :DIRECTIONS].copy()


def _whitened(columns: np.ndarray) -> np.ndarray:
    """Orthonormal columns (in the mean over rows) that span the centred ones; at most an eighth as many as rows."""
    centred = columns - columns.mean(0) if len(columns) else columns
    scale = centred.std(0) if len(columns) else np.ones(columns.shape[1])
    centred = centred[:, scale > 1e-9] / scale[scale > 1e-9]
    if not centred.size:
        return centred[:, :0]
    values, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
    keep = values[::-1] > 1e-10 * values[-1]
    keep[max(len(columns) // 8, 1) :] = False
    return centred @ (vectors[:, ::-1][:, keep] / np.sqrt(values[::-1][keep]))
