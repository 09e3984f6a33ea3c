"""A claim's measured result: the words it was judged by, its verdict, its numbers, figure and table."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from cellbench.cells.foreign import message_of

from ..claim import HOLDS, Claim, Numbers
from ..report.drawing.panels import Figure, finish
from ..report.table import Entry, Table
from ..report.units import quantity

FAILED = "failed"


@dataclass(frozen=True)
class ClaimResult:
    """A claim's words, and its verdict; one that FAILED has the reason as its condition.

    spec finds the claim again, options are its fields. The figure is drawn of the numbers and stored nowhere.
    source says when, where and with what it was measured, as a manifest does.
    """

    claim: str
    spec: str
    place: int
    sentence: str
    how: str
    rule: str
    verdict: str
    condition: str
    seconds: float
    options: dict[str, Any]
    numbers: Numbers
    figure: Figure | None = None
    table: Table | None = None
    source: dict[str, Any] | None = None

    @property
    def entry(self) -> Entry:
        """The verdict, which stands out unless the claim simply holds."""
        return Entry(self.verdict, kind="text" if self.verdict == HOLDS else "status")

    def __str__(self) -> str:
        return (
            f"{self.place:>2} {self.claim}: {self.verdict} ({quantity(self.seconds, 's')}). {self.condition}"
        )


def judged(one: Claim, spec: str, numbers: Numbers, seconds: float) -> ClaimResult:
    """The result by the claim's rule, with its figure. Raises whatever the claim's own code does."""
    ruling, table = one.judge(numbers), one.table(numbers)
    figure = finish(f"claim-{one.name}", one.sentence, one.caption, lambda: one.draw(numbers))
    return ClaimResult(
        *_words(one, spec), ruling.verdict, ruling.condition, seconds, asdict(one), numbers, figure, table
    )


def failed(one: Claim, spec: str, numbers: Numbers, seconds: float, error: Exception) -> ClaimResult:
    """With the error as the reason, and whatever numbers were measured before it."""
    return ClaimResult(*_words(one, spec), FAILED, reason(error), seconds, asdict(one), numbers)


def reason(error: Exception) -> str:
    """On one line, with the exception's type."""
    return f"{type(error).__name__}: {' '.join(message_of(error).split())}"


def _words(one: Claim, spec: str) -> tuple[str, str, int, str, str, str]:
    return one.name, spec, one.place, one.sentence, one.how, one.rule
