"""Change points in a series of anchored ratios, at a stated rate of false alarms.

The penalty is calibrated by permutation.

At each point t, the last m points (m of WINDOWS) are held against all before them in the segment: F of two
means, taken only where the first two of the m lie beyond the midpoint of both levels, so that one outlier of
any size is never a change. The penalty is the quantile of the largest F, over all t and m, of permuted
series: RATE is that of a whole series, looked at once. Looked at again after each new point, with a new
penalty each time, more are flagged at some time: 1 to 5 % (`nox -s history-study` measures both). The first t
beyond the penalty is a change; what follows it is a segment of its own.

Permuting destroys autocorrelation. So the values are whitened by an AR(1), permuted, and coloured again; its
coefficient is corrected for the bias of short series and raised by half its standard error, since one too
small costs false alarms. Values are clipped at CLIP of their spread before they are permuted: else a step
would be in its own null, and three new points in a series of 20 could never be rare. (Fisher 1935; Freedman
and Lane 1983 for permuted residuals; Kendall 1954 for the bias.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

RATE = 0.01  # false alarms a series
WINDOWS = (2, 3, 4, 6, 8, 12, 20)
BEFORE = 8  # points of a level before it can be seen to change
PERMUTATIONS = 1999
BATCHES = (49, 200, PERMUTATIONS - 249)  # most unchanged series are known to be such after the first
# an F of less, the square of 3 standard errors, is reached by most unchanged series; saves the permutations
SMALLEST = 9.0
CLIP = 6.0  # standard deviations
CAUTION = 0.5  # standard errors of the autocorrelation
MOST_AUTOCORRELATION = 0.8
Draw = Callable[[int], np.ndarray]  # so many series (size, n)


@dataclass(frozen=True)
class Change:
    """The values from `index` on have another level; effect is the new median over the old one, minus 1."""

    index: int
    effect: float


def changes(ratios: np.ndarray, rng: np.random.Generator, rate: float = RATE) -> list[Change]:
    """The changes, oldest first. Raises ValueError for ratios that are not finite and above 0."""
    ratios = np.asarray(ratios, float)
    if not (np.isfinite(ratios) & (ratios > 0)).all():
        raise ValueError("change points need ratios that are finite and above 0")
    edges = [0, *change_points(np.log(ratios), rng, rate), len(ratios)]
    levels = [float(np.median(ratios[a:b])) for a, b in pairwise(edges) if b > a]
    return [Change(at, new / old - 1) for at, (old, new) in zip(edges[1:-1], pairwise(levels), strict=True)]


def change_points(values: np.ndarray, rng: np.random.Generator, rate: float = RATE) -> list[int]:
    """Where the level of the values changes: the index of the first point of each new level."""
    points, start = [], 0
    while (at := first_change(values[start:], rng, rate)) is not None:
        start += at
        points.append(start)
    return points


def first_change(values: np.ndarray, rng: np.random.Generator, rate: float = RATE) -> int | None:
    """The first point of a new level, or None."""
    if len(values) < BEFORE + WINDOWS[0]:
        return None
    centred = np.asarray(values, float) - np.median(values)
    if np.abs(centred).max() <= 1e-12 * np.abs(values).max():
        return None  # constant but for rounding
    f, starts = looks(centred)
    limit = penalty(float(f.max()), unchanged(centred, rng), rate)
    return None if limit is None else int(starts[np.flatnonzero(f > limit)[0]])


def looks(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The largest F over windows by the number of points seen, and that window's start.

    values are (.., n); F is 0 where no window is beyond the midpoint.
    """
    n = values.shape[-1]
    zero = np.zeros((*values.shape[:-1], 1))
    sums = np.concatenate([zero, np.cumsum(values, -1)], -1)
    squares = np.concatenate([zero, np.cumsum(values * values, -1)], -1)
    best, starts = np.zeros(sums.shape), np.zeros(sums.shape, int)
    for m in WINDOWS:
        if n < BEFORE + m:
            break
        f = _f(values, sums, squares, m)
        better = f > best[..., BEFORE + m :]
        np.copyto(best[..., BEFORE + m :], f, where=better)
        np.copyto(starts[..., BEFORE + m :], np.arange(BEFORE, n - m + 1), where=better)
    return best, starts


def _f(values: np.ndarray, sums: np.ndarray, squares: np.ndarray, m: int) -> np.ndarray:
    """F of the last m points against the k before them, for each k from BEFORE on that leaves m."""
    n = values.shape[-1]
    k = np.arange(BEFORE, n - m + 1)
    t, total, old = k + m, sums[..., BEFORE + m :], sums[..., BEFORE : n - m + 1]
    step = (total - old) / m - old / k
    middle, up = old / k + step / 2, step > 0
    first, second = values[..., BEFORE : n - m + 1], values[..., BEFORE + 1 : n - m + 2]
    beyond = ((first > middle) == up) & ((second > middle) == up) & (step != 0)
    between = step * step * (k * m / t)
    power = squares[..., BEFORE + m :]
    within = np.maximum(power - total * total / t - between, 1e-12 * power)  # no noise at all: F is large
    return np.divide(between * (t - 2), within, out=np.zeros_like(between), where=beyond & (within > 0))


def penalty(largest: float, draw: Draw, rate: float = RATE) -> float | None:
    """The F that drawn series exceed at `rate`; None where `largest` does not exceed it.

    A few draws show that for most series.
    """
    if largest < SMALLEST:
        return None
    allowed, seen = int(rate * (PERMUTATIONS + 1)) - 1, np.empty(0)
    for size in BATCHES:
        seen = np.append(seen, looks(draw(size))[0].max(-1))
        if (seen >= largest * (1 - 1e-9)).sum() > allowed:
            return None
    return float(np.sort(seen)[-1 - allowed])


def unchanged(values: np.ndarray, rng: np.random.Generator) -> Draw:
    """Draws series as the centred values would be without a change.

    They are whitened, permuted and coloured again.
    """
    spread = _spread(values)
    rho = autocorrelation(values, spread)
    clipped = np.clip(values, -CLIP * spread, CLIP * spread) if spread else values
    noise = np.append(clipped[0] * np.sqrt(1 - rho * rho), clipped[1:] - rho * clipped[:-1])
    noise = np.clip(noise, -CLIP * spread, CLIP * spread) if spread else noise
    noise = noise - noise.mean()

    def draw(size: int) -> np.ndarray:
        return _coloured(rng.permuted(np.broadcast_to(noise, (size, len(noise))), axis=1), rho)

    return draw


def _coloured(noise: np.ndarray, rho: float) -> np.ndarray:
    """The AR(1) series (.., n) of such noise, stationary from its first value on."""
    from scipy.signal import lfilter

    noise[..., 0] /= np.sqrt(1 - rho * rho)
    return lfilter([1.0], [1.0, -rho], noise, axis=-1)


def _spread(values: np.ndarray) -> float:
    """Standard deviation from the median step to the next value, which a change of level leaves as it is."""
    return float(1.4826 * np.median(np.abs(np.diff(values))) / np.sqrt(2))


def autocorrelation(values: np.ndarray, spread: float) -> float:
    """Lag-one autocorrelation about the two levels that fit best, 0 to MOST_AUTOCORRELATION.

    It is rather too large than too small: one too small costs false alarms.
    """
    n, k = len(values), np.arange(2, len(values) - 1)
    sums = np.cumsum(values - values.mean())
    at = int(k[(sums[k - 1] ** 2 / (k * (n - k))).argmax()])
    rest = np.concatenate([values[:at] - np.median(values[:at]), values[at:] - np.median(values[at:])])
    rest = np.clip(rest, -4 * spread, 4 * spread) if spread else rest
    rest = rest - rest.mean()
    power = rest @ rest
    rho = (rest[1:] @ rest[:-1]) / power if power else 0.0
    rho = (rho + 2 / n) / (1 - 6 / n)  # two levels are fitted: twice Kendall's (1 + 3 rho) / n
    rho += CAUTION * np.sqrt(max(1 - rho * rho, 0.1) / n)
    return float(np.clip(rho, 0.0, MOST_AUTOCORRELATION))
