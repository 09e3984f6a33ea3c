"""The verdict on two sets of processes that were measured at different times, each against a partner inside
the process.

Nothing can be repeated here, so a change needs more than where both sides share a process: no process of one
side among those of the other, and Welch's p besides, over the suite. How little that sees depends on the
spread of the ratios between processes. Simulated at SD 0.74 %, two functions of one kind: 0.5 % of unchanged
comparisons are called changed with three processes a side and 0.1 % with five; in a suite of eight, 80 % of
changes are found from +6 % and +3 % on. Two runs of the default comparison had a median SD of 3.9 % against
torch.nn: then from +35 % and +15 % on. On a machine with three times as much work as cores the SD was 34 %: 1
of 28 unchanged suites was red. The interval covers 90 % with three, 97 % with five.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

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
    found, p = interval(a, b, rng), welch(a, b)
    size, reach = abs(found.estimate), max(abs(found.low), abs(found.high))
    if min(len(a), len(b)) < FEWEST:
        why = f"at least {FEWEST} processes a side are needed, these are {len(a)} and {len(b)}"
        return Verdict.UNSURE, f"{found}: {why}", found, p
    apart = max(a) < min(b) or max(b) < min(a)
    if size >= FLOOR and found.low * found.high > 0 and apart:
        verdict = Verdict.SLOWER if found.estimate > 0 else Verdict.FASTER
        return (
            verdict,
            f"{found}, no process of one run is among those of the other, p = {p:.2g}; not repeated",
            found,
            p,
        )
    if size < FLOOR and reach < 2 * FLOOR:
        return Verdict.SAME, f"{found}, below {100 * FLOOR:g} %", found, p
    why = "the processes of the two runs overlap" if size >= FLOOR else "the interval is too wide"
    return Verdict.UNSURE, f"{found}: {why}", found, p


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
    shares = [float(np.var(side, ddof=1)) / len(side) for side in (a, b)]
    difference, spread = float(np.mean(b) - np.mean(a)), sum(shares)
    if spread == 0:
        return float(difference == 0)
    freedom = spread**2 / sum(s**2 / (len(side) - 1) for s, side in zip(shares, (a, b), strict=True))
    return student(abs(difference) / spread**0.5, freedom)


def student(t: float, freedom: float) -> float:
    """Two-sided tail of Student's t by Gauss and Legendre's rule; scipy, which has it, takes longer to import
    than all else.

    With t = sqrt(freedom) tan(angle) the density is cos(angle)^(freedom - 1).
    """
    nodes, weights = rule()

    def mass(start: float) -> float:
        half = (np.pi / 2 - start) / 2
        return half * float(weights @ np.cos(start + half * (nodes + 1)) ** (freedom - 1))

    return mass(float(np.arctan2(t, freedom**0.5))) / mass(0.0)


@lru_cache
def rule() -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of Gauss and Legendre's rule, enough for nine digits."""
    return np.polynomial.legendre.leggauss(64)
