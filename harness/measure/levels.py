"""The verdict on two sides that never shared a process, from each process's level: benchmark over anchor.

An anchor is a fixed piece of work that both sides time beside the benchmark. A process's level is the median
over its builds of the log of the shortest sample of the benchmark over the shortest one of the anchor. On two
cores at a load of 5 to 6 the standard deviation of that over 40 processes was 6 % (Numba) and 14 % (NumPy),
where medians in place of the shortest gave 20 and 14 %. So the verdict is blunt, and says how blunt it is.
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
    """The level of one process, from the seconds of its builds' samples."""
    return float(np.median([np.log(min(b) / min(a)) for b, a in zip(benchmark, anchor, strict=True)]))


def error(a: Values, b: Values) -> tuple[float, int]:
    """(standard error of the difference of means, degrees of freedom), of one spread for both sides."""
    free = len(a) + len(b) - 2
    squares = sum(float(np.sum((np.asarray(side) - np.mean(side)) ** 2)) for side in (a, b))
    return float(np.sqrt(squares / max(free, 1) * (1 / len(a) + 1 / len(b)))), free


def detectable(a: Values, b: Values) -> float:
    """The smallest change that such processes show in POWER of all cases; infinite for a single process."""
    from scipy.special import stdtrit

    spread, free = error(a, b)
    if min(len(a), len(b)) < 2:
        return float("inf")
    return float(np.expm1((stdtrit(free, (1 + LEVEL) / 2) + stdtrit(free, POWER)) * MEDIAN * spread))


def decide(a: Values, b: Values, rng: np.random.Generator) -> tuple[Verdict, str, Interval]:
    """A change is called only beyond the least detectable one; SAME needs an interval within BLUNTEST."""
    effect, least = interval(a, b, rng), max(FLOOR, detectable(a, b))
    can_see = f"these processes can tell {100 * least:.1f} % or more"
    if abs(effect.estimate) >= least and effect.low * effect.high > 0:
        return (Verdict.SLOWER if effect.estimate > 0 else Verdict.FASTER), f"{effect}; {can_see}", effect
    reach = max(abs(effect.low), abs(effect.high))
    if abs(effect.estimate) < least and reach <= BLUNTEST:
        return Verdict.SAME, f"no change above {100 * reach:.1f} %; {can_see}", effect
    return Verdict.UNSURE, f"{effect}: {can_see}", effect
