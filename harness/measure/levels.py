"""The verdict on two sides that never shared a process: from the level of each process, its benchmark against
its anchor.

This is blunt, and says how blunt it is. A process's level is the median over its builds of the log of the
shortest sample of the benchmark over the shortest one of the anchor: on two cores at a load of 5 to 6 the
standard deviation of that over 40 processes was 6 % (Numba) and 14 % (NumPy), where medians in place of the
shortest gave 20 and 14 %.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .bootstrap import LEVEL, Interval
from .unpaired import interval
from .verdict import FLOOR, Verdict

BLUNTEST = 0.10  # SAME is not said where a change of more than this may hide
POWER = 0.8
MEDIAN = float(np.sqrt(np.pi / 2))  # standard error of a median over that of a mean
Values = Sequence[float]


def level(benchmark: Sequence[Values], anchor: Sequence[Values]) -> float:
    """Of one process, from the seconds of its builds' samples."""
    return float(np.median([np.log(min(b) / min(a)) for b, a in zip(benchmark, anchor, strict=True)]))


def error(a: Values, b: Values) -> tuple[float, int]:
    """(standard error of the difference of means, degrees of freedom), of one spread for both sides."""
    free = len(a) + len(b) - 2
    squares = sum(float(np.sum((np.asarray(side) - np.mean(side)) ** 2)) for side in (a, b))
    return float(np.sqrt(squares / max(free, 1) * (1 / len(a) + 1 / len(b)))), free


def detectable(a: Values, b: Values) -> float:
    """The smallest change that so many processes of this spread show in POWER of all cases; infinite for a
    single process.
    """
    from scipy.special import stdtrit

    spread, free = error(a, b)
    if min(len(a), len(b)) < 2:
        return float("inf")
    return float(np.expm1((stdtrit(free, (1 + LEVEL) / 2) + stdtrit(free, POWER)) * MEDIAN * spread))


def decide(a: Values, b: Values, rng: np.random.Generator) -> tuple[Verdict, str, Interval]:
    """A change is called only beyond what is detectable; SAME is said where the interval lies within
    BLUNTEST.
    """
    found, least = interval(a, b, rng), max(FLOOR, detectable(a, b))
    can_see = f"these processes can tell {100 * least:.1f} % or more"
    if abs(found.estimate) >= least and found.low * found.high > 0:
        return (Verdict.SLOWER if found.estimate > 0 else Verdict.FASTER), f"{found}; {can_see}", found
    reach = max(abs(found.low), abs(found.high))
    if abs(found.estimate) < least and reach <= BLUNTEST:
        return Verdict.SAME, f"no change above {100 * reach:.1f} %; {can_see}", found
    return Verdict.UNSURE, f"{found}: {can_see}", found
