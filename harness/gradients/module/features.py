"""Features of the inputs at each lag and in bands of lags, in which something left to explain would show."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

QUADRATIC = 12  # inputs wider than this are taken as they are, without squares and products
WIDEST = 64  # still wider ones are projected at random
BANDS = 8


def by_lag(inputs: np.ndarray, reference: np.ndarray, lags: int) -> np.ndarray:
    """(R, lags, I): the input at each lag before each row's reference time; NaN before the start.

    inputs (R, T, I) by time, reference (R,) the step at which the row's loss is.
    """
    times = reference[:, None] - np.arange(lags)
    lagged = np.take_along_axis(inputs, np.maximum(times, 0)[:, :, None], axis=1)
    return np.where((times >= 0)[:, :, None], lagged, np.nan)


def expanded(u: np.ndarray) -> np.ndarray:
    """(..., d): inputs (..., I) with their squares and products within the step.

    A value, its marker, and value times marker, as adding tasks need them.
    """
    width = u.shape[-1]
    if width > WIDEST:
        basis = np.linalg.qr(np.random.default_rng(0).standard_normal((width, WIDEST)))[0]
        return u @ basis
    if width > QUADRATIC:
        return u
    left, right = np.triu_indices(width)
    return np.concatenate([u, u[..., left] * u[..., right]], axis=-1)


def band_edges(lags: int) -> list[tuple[int, int]]:
    """Up to 8 bands of about equal width, (lowest, highest) lag of each."""
    edges = np.unique(np.linspace(0, lags, min(lags, BANDS) + 1).round().astype(int))
    return [(int(a), int(b) - 1) for a, b in pairwise(edges)]


def band_sum(u: np.ndarray, band: tuple[int, int]) -> np.ndarray:
    """(R, d): the features of inputs (R, lags, I) summed over the lags of a band.

    Steps before a sequence's start count as the mean.
    """
    return filled(expanded(u[:, band[0] : band[1] + 1])).sum(1)


def filled(u: np.ndarray) -> np.ndarray:
    """NaN replaced by the mean of the rows that have a number there, so that a row's start tells nothing."""
    missing = np.isnan(u)
    if not missing.any():
        return u
    mean = np.where(missing, 0.0, u).sum(0) / np.maximum((~missing).sum(0), 1)
    return np.where(missing, mean, u)


def standardised(columns: np.ndarray) -> np.ndarray:
    """Columns of mean 0 and deviation 1, without those that do not vary."""
    centred = columns - columns.mean(0)
    deviation = centred.std(0)
    varies = deviation > 1e-9 * np.maximum(np.abs(columns).max(0, initial=0), 1e-30)
    return centred[:, varies] / deviation[varies]
