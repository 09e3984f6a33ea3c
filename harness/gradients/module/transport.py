"""How much of a gradient's norm arrives at each lag, over all samples."""

from __future__ import annotations

import numpy as np


def transported(log_norm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logs of the rms and of the median over rows of (lags, R), relative to the first lag with a gradient.

    NaN before that lag.
    """
    first = first_lag(log_norm)
    with np.errstate(invalid="ignore"):  # of -inf minus -inf
        relative = log_norm - log_norm[first]
    rms = np.array([_log_rms(row[~np.isnan(row)]) for row in log_norm])
    typical = np.array(
        [np.median(row[~np.isnan(row)]) if not np.isnan(row).all() else np.nan for row in relative]
    )
    with np.errstate(invalid="ignore"):
        rms = rms - rms[first]
    rms[:first] = typical[:first] = np.nan
    return rms, typical


def first_lag(log_norm: np.ndarray) -> int:
    """The first lag at which the joint state has a gradient.

    It is 1 where the output is not computed from the new state, else 0.
    """
    alive = np.isfinite(log_norm).any(1)
    return int(np.argmax(alive)) if alive.any() else 0


def padded(array: np.ndarray, lags: int) -> np.ndarray:
    """NaN at the lags that a shorter batch does not have."""
    return np.concatenate([array, np.full((lags - len(array), *array.shape[1:]), np.nan)])


def _log_rms(logs: np.ndarray) -> float:
    """Of numbers whose logarithms are given, which may be beyond float64; NaN of none."""
    from scipy.special import logsumexp

    return 0.5 * float(logsumexp(2 * logs) - np.log(logs.size)) if logs.size else float("nan")
