"""The power of the verdict's rule, and the smallest change that it finds four times in five.

The rule wants, of k processes with log ratios normal about the change with standard deviation s: all of one
sign, and the median past FLOOR; then all of that sign again in the k of the repetition. (With five processes
the interval excludes 0 where all agree, since it reaches from the least to the largest of them.)

With a = P(ratio past FLOOR), c = P(ratio past 0) and k odd, the median of k positive ratios is past FLOOR
where more than half of them are:
    power = c^k * c^k * P(Binomial(k, a / c) > k / 2)
Doubling where it cannot tell, Holm's correction over a suite and the pooled interval are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import expm1, log1p

import numpy as np

from .verdict import FLOOR

WANTED = 0.8
LARGEST = 3.0  # a log ratio: twenty times the time


def power(change: float, spread: float, processes: int = 5) -> float:
    """The probability that a slow-down (0.05 is 5 %) is called one, and confirmed.

    spread is the standard deviation between processes of their log ratios. Raises ValueError for an even
    number of processes.
    """
    if processes % 2 == 0:
        raise ValueError(f"power is computed for an odd number of processes, not for {processes}")
    if spread == 0:
        return float(change >= FLOOR)
    from scipy.special import bdtrc, ndtr

    past, positive = (ndtr((log1p(change) - bound) / spread) for bound in (log1p(FLOOR), 0.0))
    median_past = bdtrc(processes // 2, processes, past / positive) if positive > 0 else 0.0
    return float(positive ** (2 * processes) * median_past)


def detectable(spread: float, processes: int = 5, wanted: float = WANTED) -> float:
    """The smallest slow-down found with the wanted power; at least FLOOR, infinite where LARGEST is not."""
    from scipy.optimize import brentq

    def lacking(log_ratio: float) -> float:
        return power(expm1(log_ratio), spread, processes) - wanted

    if lacking(LARGEST) < 0:
        return float("inf")
    least = log1p(FLOOR)
    return FLOOR if lacking(least) >= 0 else float(expm1(brentq(lacking, least, LARGEST, xtol=1e-9)))


def spread_of(logs: Sequence[Sequence[float]]) -> float:
    """Standard deviation between processes of the median over builds; 0 where there are fewer than two."""
    centres = [float(np.median(row)) for row in logs]
    return float(np.std(centres, ddof=1)) if len(centres) > 1 else 0.0
