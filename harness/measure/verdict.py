"""The verdict on two sides of shared processes: from log ratios of B to A, and of A' to A as a control.

A' is a second instance of A in the same process. It differs from A by the machine's noise alone, so where it
differs by more than FLOOR nothing can be said of B, but where B differs by CLEAR times as much. The rule's
error rates are measured (`nox -s aa-study`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

import numpy as np

from .bootstrap import Interval, interval

FLOOR = 0.015  # the smallest change that is called one
CLEAR = 10  # a log ratio of so many times the noise is no doubt
RELIABILITY = Path(__file__).with_name("reliability.json")  # of the committed A/A study
Logs = Sequence[Sequence[float]]  # processes, and builds in each


class Verdict(StrEnum):
    """The answer about B against A."""

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
    sign. SAME needs an estimate below FLOOR, and an interval within FLOOR too; once nothing more will be
    measured (`last`), within twice FLOOR. The control must be below FLOOR, unless the effect is `clear`, and
    every time must be a number above 0.
    """
    if not effect:
        return Verdict.INVALID, "nothing was measured", None
    if not all(np.isfinite(row).all() for row in (*effect, *control)):
        return Verdict.INVALID, "a time was measured that is 0 or no number", None
    change, same = interval(effect, rng), interval(control, rng)
    signs = {np.sign(np.median(row)) for row in effect}
    size, reach = abs(change.estimate), max(abs(change.low), abs(change.high))
    if abs(same.estimate) > FLOOR and not clear(effect, control):
        return Verdict.INVALID, f"a second instance of A differs from A by {same}", change
    if size >= FLOOR and change.low * change.high > 0 and len(signs) == 1:
        verdict = Verdict.SLOWER if change.estimate > 0 else Verdict.FASTER
        return verdict, f"{change}, all processes agree", change
    if size < FLOOR and reach < (2 * FLOOR if last else FLOOR):
        return Verdict.SAME, f"{change}, below {100 * FLOOR:g} %", change
    why = "processes differ in sign" if size >= FLOOR else "the interval is too wide"
    return Verdict.UNSURE, f"{change}: {why}", change


def clear(effect: Logs, control: Logs) -> bool:
    """Whether the effect is beyond doubt: CLEAR times the noise in every process, all of one sign.

    The noise is the control's worst process, and at least FLOOR.
    """
    ratios = np.array([np.median(row) for row in effect])
    off = np.array([np.median(row) for row in control])
    if not len(ratios) or not np.isfinite([*ratios, *off]).all() or len(set(np.sign(ratios))) > 1:
        return False
    noise = max(FLOOR, float(np.abs(off).max(initial=0.0)))
    return bool(np.abs(ratios).min() >= CLEAR * noise)


def confirms(effect: Logs, first: Verdict, rng: np.random.Generator) -> bool:
    """Whether a repetition shows a change of the same direction: its interval excludes 0, and all agree."""
    if not effect:
        return False
    change, sign = interval(effect, rng), 1 if first is Verdict.SLOWER else -1
    agree = all(sign * np.median(row) > 0 for row in effect)
    return sign * change.low > 0 and sign * change.high > 0 and agree


def p_value(effect: Logs) -> float:
    """Two-sided p of no change, by Student's t over the processes.

    It is 1 where there are fewer than two, or one is no number.
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
    """The p values of a family, adjusted for any false alarm in it (Holm 1979)."""
    order = np.argsort(p)
    scaled = np.asarray(p, float)[order] * (len(p) - np.arange(len(p)))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0) if len(p) else scaled
    return adjusted.tolist()


def reliability() -> str:
    """The sentences of the committed study: the verdict's own error rates, and where they were measured.

    It stands at the foot of reports; it is empty where no study is stored.
    """
    try:
        return json.loads(RELIABILITY.read_text(encoding="utf8"))["line"]
    except FileNotFoundError:
        return ""
