"""A value over seeds: its median, and an interval that claims no more than so few seeds can tell.

The interval lies between order statistics of the seeds. So it needs no bell curve (whether a cell solves a
task has two outcomes), and both its ends are values that a seed had. The probability that it holds the median
of all seeds follows from the binomial distribution alone. For fewer than 6 seeds it is their range, with
1 - 2^(1-n); 95 % are out of reach.
"""

from __future__ import annotations

from math import comb

import numpy as np
import pandas as pd

from .table import Entry, number
from .units import interval, quantity

WANTED = 0.95


def coverage(count: int, cut: int = 0) -> float:
    """Probability that `count` seeds without the `cut` lowest and highest hold the median of all seeds."""
    return 1 - 2 * sum(comb(count, k) for k in range(cut + 1)) / 2**count


def bounds(values: np.ndarray) -> tuple[float, float]:
    """The narrowest such interval with at least 95 %, else the range; NaN for one value."""
    ordered = np.sort(values)
    if len(ordered) < 2:
        return np.nan, np.nan
    cut = max((k for k in range(len(ordered) // 2) if coverage(len(ordered), k) >= WANTED), default=0)
    return float(ordered[cut]), float(ordered[len(ordered) - 1 - cut])


def over_seeds(values: pd.Series, kind: str = "1", unit: str = "") -> Entry:
    """Median and interval; a value that is not finite is said instead of vanishing from the median."""
    if not len(values):
        return number("–")
    bad = int((~np.isfinite(values)).sum())
    if bad:
        return number("not finite" if bad == len(values) else f"not finite in {bad} of {len(values)}")
    middle, (low, high) = float(values.median()), bounds(values.to_numpy(float))
    text = quantity(middle, kind) + (f" {unit}" if unit else "")
    return number(text, interval(low, high, kind, middle) if high > low else "")


def sentence(count: int) -> str:
    """What the intervals of a table are, where a row has up to `count` seeds."""
    if count < 2:
        return "One seed, hence no interval."
    if coverage(count) >= WANTED:
        return (
            "Median over seeds; below it the interval that holds the median of all seeds with a probability of"
            " at least 95 %."
        )
    return (
        f"Median over seeds; below it the range over {count} seeds, which holds the median of all seeds with"
        f" a probability of {100 * coverage(count):.0f} % (95 % takes 6 seeds)."
    )
