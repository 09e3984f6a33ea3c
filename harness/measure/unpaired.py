"""The verdict on processes of different times, each against a partner that was timed inside it.

Nothing can be repeated here, so a change needs more than where both sides share a process. No process of one
side may lie among those of the other, and Welch's p besides must hold over the suite.

How large a change must be to be seen depends on the spread of the ratios between processes. Simulated at
SD 0.74 %, two functions of one kind: 0.5 % of unchanged comparisons are called changed with three processes
a side and 0.1 % with five; in a suite of eight, 80 % of changes are found from +6 % and +3 % on.

Two runs of the default comparison had a median SD of 3.9 % against torch.nn: then from +35 % and +15 % on. On
a machine with three times as much work as cores the SD was 34 %: 1 of 28 unchanged suites was red. The
interval covers 90 % with three processes, 97 % with five.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .bootstrap import LEVEL, RESAMPLES, Interval
from .verdict import FLOOR, Verdict

FEWEST = 3  # processes of a side: fewer have no spread to judge by


def decide(
    a: Sequence[float], b: Sequence[float], rng: np.random.Generator
) -> tuple[Verdict, str, Interval | None, float]:
    """(verdict, why, the interval of the effect, p) from each process's log ratio to its partner."""
    if not len(a) or not len(b) or not np.isfinite([*a, *b]).all():
        return Verdict.INVALID, "nothing was measured", None, 1.0
    effect, p = interval(a, b, rng), welch(a, b)
    size, reach = abs(effect.estimate), max(abs(effect.low), abs(effect.high))
    if min(len(a), len(b)) < FEWEST:
        why = f"at least {FEWEST} processes a side are needed, these are {len(a)} and {len(b)}"
        return Verdict.UNSURE, f"{effect}: {why}", effect, p
    apart = max(a) < min(b) or max(b) < min(a)
    if size >= FLOOR and effect.low * effect.high > 0 and apart:
        verdict = Verdict.SLOWER if effect.estimate > 0 else Verdict.FASTER
        why = f"{effect}, no process of one run is among those of the other, p = {p:.2g}; not repeated"
        return verdict, why, effect, p
    if size < FLOOR and reach < 2 * FLOOR:
        return Verdict.SAME, f"{effect}, below {100 * FLOOR:g} %", effect, p
    why = "the processes of the two runs overlap" if size >= FLOOR else "the interval is too wide"
    return Verdict.UNSURE, f"{effect}: {why}", effect, p


def interval(
    a: Sequence[float], b: Sequence[float], rng: np.random.Generator, level: float = LEVEL
) -> Interval:
    """Interval of exp(median of b - median of a) - 1; the processes of each side are resampled apart."""
    picked = [np.asarray(side)[rng.integers(0, len(side), (RESAMPLES, len(side)))] for side in (a, b)]
    drawn = np.median(picked[1], axis=1) - np.median(picked[0], axis=1)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(*(float(np.expm1(v)) for v in (np.median(b) - np.median(a), low, high)))


def welch(a: Sequence[float], b: Sequence[float]) -> float:
    """Two-sided p of equal means (Welch 1947); 1 where a side has fewer than two values."""
    if min(len(a), len(b)) < 2:
        return 1.0
    means, variances = [float(np.mean(v)) for v in (a, b)], [float(np.var(v, ddof=1)) for v in (a, b)]
    if sum(variances) == 0:  # t would be 0 / 0, or infinite
        return float(means[0] == means[1])
    from scipy.stats import ttest_ind_from_stats  # takes 0.7 s to import

    spreads = np.sqrt(variances)
    sides = (means[0], spreads[0], len(a), means[1], spreads[1], len(b))
    return float(ttest_ind_from_stats(*sides, equal_var=False).pvalue)
