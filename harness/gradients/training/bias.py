"""The bias that clipping gives the expected gradient, over minibatches at fixed parameters.

The estimate itself is free of the bias of their finite number.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FEWEST = 4  # minibatches


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval; NaN where the minibatches do not tell it from noise."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class ClippingBias:
    """E[clip g] against E[g]; both figures are 1 without a bias.

    cosine   of the angle between the two
    ratio    of their norms
    used     minibatches whose gradients are finite
    """

    cosine: Interval
    ratio: Interval
    used: int


def clipping_bias(raw: np.ndarray, clipped: np.ndarray) -> ClippingBias:
    """From the gradients (K, P) of K minibatches and the same after clipping.

    Inner products of means are those of different minibatches, so that noise adds nothing to them; the
    intervals are the jackknife's over minibatches. Raises ValueError for other shapes, or fewer than 4
    minibatches.
    """
    raw, clipped = np.asarray(raw, np.float64), np.asarray(clipped, np.float64)
    if raw.ndim != 2 or raw.shape != clipped.shape or len(raw) < FEWEST:
        raise ValueError(
            f"raw is {raw.shape}, clipped {clipped.shape}; both must be (K, P) of K >= {FEWEST} minibatches"
        )
    good = np.isfinite(raw).all(1) & np.isfinite(clipped).all(1)
    if good.sum() < FEWEST:
        nothing = Interval(np.nan, np.nan, np.nan)
        return ClippingBias(nothing, nothing, int(good.sum()))
    raw, clipped = raw[good], clipped[good]
    scales = [float(np.abs(g).max()) or 1.0 for g in (raw, clipped)]  # squares stay within float64
    a, b = raw / scales[0], clipped / scales[1]
    raw2, cross, clipped2 = (_without_each(p @ q.T) for p, q in ((a, a), (a, b), (b, b)))
    with np.errstate(invalid="ignore", divide="ignore"):  # a square free of noise may come out negative
        cosine, ratio = cross / np.sqrt(raw2 * clipped2), np.sqrt(clipped2 / raw2) * (scales[1] / scales[0])
    return ClippingBias(_jackknife(cosine), _jackknife(ratio), len(raw))


def _without_each(products: np.ndarray) -> np.ndarray:
    """(K + 1,): mean product of different minibatches, of all first, then without each in turn."""
    count = len(products)
    different = products - np.diag(np.diag(products))
    total = different.sum()
    without = total - different.sum(0) - different.sum(1)
    return np.concatenate([[total / (count * (count - 1))], without / ((count - 1) * (count - 2))])


def _jackknife(values: np.ndarray) -> Interval:
    """Of a figure from all minibatches, then without each in turn."""
    value, each = float(values[0]), values[1:]
    if not np.isfinite(values).all():
        return Interval(value if np.isfinite(value) else np.nan, np.nan, np.nan)
    error = float(np.sqrt((len(each) - 1) / len(each) * np.sum((each - each.mean()) ** 2)))
    return Interval(value, value - 1.96 * error, value + 1.96 * error)
