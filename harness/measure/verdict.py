"""The verdict on a comparison: from process-level log ratios of B to A, and of A' to A as a control."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import numpy as np

from .bootstrap import Interval, interval

FLOOR = 0.015  # the smallest change that is called one
Logs = Sequence[Sequence[float]]  # processes, and builds in each


class Verdict(StrEnum):
    """What is said of B against A."""

    SAME = "SAME"
    FASTER = "FASTER"
    SLOWER = "SLOWER"
    UNSURE = "UNSURE"
    INVALID = "INVALID"


CHANGED = (Verdict.FASTER, Verdict.SLOWER)


def decide(
    effect: Logs, control: Logs, rng: np.random.Generator, last: bool = True
) -> tuple[Verdict, str, Interval | None]:
    """(verdict, why, the interval of the effect).

    A change is called where the estimate passes FLOOR, the interval excludes 0, and all processes agree in
    sign. SAME is said where the estimate is below FLOOR and the interval lies within it, or, once nothing
    more will be measured (`last`), within twice of it. The control must be below FLOOR itself, and every time
    must be a number above 0.
    """
    if not effect:
        return Verdict.INVALID, "nothing was measured", None
    if not all(np.isfinite(row).all() for row in (*effect, *control)):
        return Verdict.INVALID, "a time was measured that is 0 or no number", None
    found, same = interval(effect, rng), interval(control, rng)
    signs = {np.sign(np.median(row)) for row in effect}
    size, reach = abs(found.estimate), max(abs(found.low), abs(found.high))
    if abs(same.estimate) > FLOOR:
        return Verdict.INVALID, f"a second instance of A differs from A by {same}", found
    if size >= FLOOR and found.low * found.high > 0 and len(signs) == 1:
        return (
            (Verdict.SLOWER if found.estimate > 0 else Verdict.FASTER),
            f"{found}, all processes agree",
            found,
        )
    if size < FLOOR and reach < (2 * FLOOR if last else FLOOR):
        return Verdict.SAME, f"{found}, below {100 * FLOOR:g} %", found
    why = "processes differ in sign" if size >= FLOOR else "the interval is too wide"
    return Verdict.UNSURE, f"{found}: {why}", found


def confirms(effect: Logs, first: Verdict, rng: np.random.Generator) -> bool:
    """Whether an independent repetition shows a change of the same direction: its interval excludes 0, and
    all agree.
    """
    if not effect:
        return False
    found, sign = interval(effect, rng), 1 if first is Verdict.SLOWER else -1
    return sign * found.low > 0 and sign * found.high > 0 and all(sign * np.median(row) > 0 for row in effect)


def p_value(effect: Logs) -> float:
    """Two-sided p of no change, by Student's t over the processes; 1 where there are fewer than two, or one
    is no number.
    """
    from scipy.special import stdtr

    values = np.array([np.median(row) for row in effect])
    if len(values) < 2 or not np.isfinite(values).all():
        return 1.0
    spread = values.std(ddof=1) / np.sqrt(len(values))
    if spread == 0:
        return float(values[0] == 0)
    return float(2 * stdtr(len(values) - 1, -abs(values.mean()) / spread))


def holm(p: Sequence[float]) -> list[float]:
    """The p values of a family, adjusted so that any false alarm in it has the stated probability (Holm
    1979).
    """
    order = np.argsort(p)
    scaled = np.asarray(p, float)[order] * (len(p) - np.arange(len(p)))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0) if len(p) else scaled
    return adjusted.tolist()
