"""What a comparison can find: the power of the verdict's rule, and the smallest change that it finds four
times in five.

The rule wants, of k processes with log ratios normal about the change with standard deviation s: all of one sign, and the
median past FLOOR; then all of that sign again in the k of the repetition. (With five processes the interval excludes 0 where
all agree, since it reaches from the least to the largest of them.) With a = P(ratio past FLOOR) and b = P(between 0 and
FLOOR), and k odd,
    power = (a + b)^k * sum over j > k/2 of C(k, j) a^j b^(k - j)
Doubling where it cannot tell, Holm's correction over a suite and the pooled interval are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import comb, erf, expm1, log1p, sqrt

import numpy as np

from .verdict import FLOOR

WANTED = 0.8
LARGEST = 3.0  # a log ratio: twenty times the time


def power(change: float, spread: float, processes: int = 5) -> float:
    """The probability that a slow-down (0.05 is 5 %) is called one, and confirmed; spread is of the
    process-level log ratios.

    Raises ValueError for an even number of processes.
    """
    if processes % 2 == 0:
        raise ValueError(f"power is computed for an odd number of processes, not for {processes}")
    if spread == 0:
        return float(change >= FLOOR)
    past, positive = (_normal((log1p(change) - bound) / spread) for bound in (log1p(FLOOR), 0.0))
    between = positive - past
    found = sum(
        comb(processes, j) * past**j * between ** (processes - j)
        for j in range(processes // 2 + 1, processes + 1)
    )
    return positive**processes * found


def detectable(spread: float, processes: int = 5, wanted: float = WANTED) -> float:
    """The smallest slow-down found with the wanted power, by bisection; at least FLOOR."""
    low, high = log1p(FLOOR), LARGEST
    if power(expm1(high), spread, processes) < wanted:
        return float("inf")
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (low, middle) if power(expm1(middle), spread, processes) >= wanted else (middle, high)
    return expm1(high)


def spread_of(logs: Sequence[Sequence[float]]) -> float:
    """Standard deviation between processes of the median over builds; 0 where there are fewer than two."""
    centres = [float(np.median(row)) for row in logs]
    return float(np.std(centres, ddof=1)) if len(centres) > 1 else 0.0


def _normal(z: float) -> float:
    return (1 + erf(z / sqrt(2))) / 2
