"""The contract of a claim of the lecture: how it is measured, and the rule by which the numbers decide.

A claim is a dataclass; its fields are its sizes. `measure` computes numbers that JSON can hold; `judge`,
`table` and `draw` take nothing but these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from cellbench.cells import find

from .report.table import Table

HOLDS, WITH_CONDITION, NOT_HERE = "holds", "holds with a condition", "does not hold here"
VERDICTS = (HOLDS, WITH_CONDITION, NOT_HERE)
Numbers = dict[str, Any]
Tick = Callable[[str], object]

PACKAGE = f"{__package__}.claims"


@dataclass(frozen=True)
class Ruling:
    """One of VERDICTS, and a sentence that says under what condition, with the numbers that decided."""

    verdict: str
    condition: str

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise ValueError(f"a ruling is {self.verdict!r}; it must be one of {', '.join(VERDICTS)}")


@dataclass(frozen=True)
class Claim:
    """Base of all claims.

    place     its number on the page
    sentence  the claim itself
    how       how it is measured, rule how the numbers decide: both stand on the page
    caption   of the figure
    seconds   about how long it takes on two slow cores
    """

    place: ClassVar[int]
    sentence: ClassVar[str]
    how: ClassVar[str]
    rule: ClassVar[str]
    caption: ClassVar[str]
    seconds: ClassVar[float] = 5.0

    @property
    def name(self) -> str:
        """The claim's public name: its file's name in harness/claims, else its class's."""
        return find.public_name(self)

    @property
    def parts(self) -> int:
        """How often `measure` calls tick."""
        return 1

    def measure(self, tick: Tick) -> Numbers:
        """The numbers; tick(label) is called before each part."""
        raise NotImplementedError

    def judge(self, numbers: Numbers) -> Ruling:
        """The verdict, by the rule, of nothing but the numbers."""
        raise NotImplementedError

    def table(self, numbers: Numbers) -> Table:
        """The numbers as they stand below the figure."""
        raise NotImplementedError

    def draw(self, numbers: Numbers) -> Any:
        """A matplotlib figure."""
        raise NotImplementedError


def ruled(holds: bool, in_part: bool, condition: str) -> Ruling:
    """HOLDS where holds is true, else WITH_CONDITION where in_part is, else NOT_HERE."""
    return Ruling(HOLDS if holds else WITH_CONDITION if in_part else NOT_HERE, condition)


def names() -> list[str]:
    """Public names of all claims."""
    return find.names(PACKAGE, "cellbench.claims")


def get(spec: str, options: Mapping[str, Any] | None = None) -> Claim:
    """The claim that a spec names, with its fields set. Raises ValueError for an unknown claim or option."""
    return find.member(spec, Claim, PACKAGE, "cellbench.claims", options)


@dataclass(frozen=True)
class Ratio:
    """A geometric mean over seeds with its 95 % interval (Student's t of the logs)."""

    value: float
    low: float
    high: float

    @property
    def word(self) -> str:
        """below or above 1 where the whole interval is, else level."""
        return "below" if self.high < 1 else "above" if self.low > 1 else "level"


def ratio(of: Sequence[float], to: Sequence[float]) -> Ratio:
    """The geometric mean of ratios of paired positive values, at least two of each, with its interval.

    Raises ValueError where a value is not finite or not above 0.
    """
    from scipy.stats import ttest_1samp

    if len(of) != len(to) or len(of) < 2:
        raise ValueError(f"a ratio is of {len(of)} and {len(to)} values; it needs pairs, at least two")
    if not all(np.isfinite(v) and v > 0 for v in (*of, *to)):
        raise ValueError("a ratio has a value that is not finite or not above 0")
    logs = np.log(of) - np.log(to)
    if np.ptp(logs) == 0:  # the test would divide by a standard error of 0
        return Ratio(*[float(np.exp(logs[0]))] * 3)
    low, high = ttest_1samp(logs, 0.0).confidence_interval(0.95)
    return Ratio(float(np.exp(logs.mean())), float(np.exp(low)), float(np.exp(high)))
