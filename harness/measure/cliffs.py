"""Jumps in time along an axis on which the work grows: what no smooth cost makes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

Samples = Sequence[float]


@dataclass(frozen=True)
class Jump:
    """To the point `at` from the one before it.

    ratio is above 1 where time grew by so many times more than the work did. It is below 1 where time fell
    to this share, though the work did not fall.
    """

    at: int
    ratio: float


def jumps(work: Sequence[float], seconds: Sequence[Samples], threshold: float) -> list[Jump]:
    """Jumps between neighbours of points in order; a point without samples was not timed.

    Time that is a fixed cost and a cost a unit of work, a + b work, neither falls nor grows by more than the
    work. A jump is what is outside of that by more than `threshold`. The middle halves of the two points'
    samples, taken against that bound, must be apart too: a ratio of two noisy points is no jump.
    """
    found = []
    for k, (before, after) in enumerate(pairwise(seconds), start=1):
        if len(before) == 0 or len(after) == 0:
            continue
        more = work[k] / work[k - 1]
        fastest, slowest = quartiles(after)
        before_low, before_high = quartiles(before)
        ratio = float(np.median(after) / np.median(before))
        if ratio / more > threshold and fastest > before_high * more:
            found.append(Jump(k, ratio / more))
        elif ratio < 1 / threshold and slowest < before_low:
            found.append(Jump(k, ratio))
    return found


def quartiles(samples: Samples) -> tuple[float, float]:
    """The ends of the middle half."""
    low, high = np.quantile(samples, (0.25, 0.75))
    return float(low), float(high)
