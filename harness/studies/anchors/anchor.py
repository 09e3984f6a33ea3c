"""One figure of the literature, or of theory, held against a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from ...report.units import digits


@dataclass(frozen=True)
class Anchor:
    """measured holds where it lies in allowed (low, high), both included; NaN never does.

    published   as it was written down elsewhere; None where nobody did
    computed    of infinitely many units or steps, by this project's own quadrature or closed form, or None
    note        the effect of a finite size, run time or sample on the figure, from which `allowed` was set
    seconds     that the run took; None before it is timed
    """

    name: str
    published: float | None
    computed: float | None
    measured: float
    allowed: tuple[float, float]
    note: str
    seconds: float | None = None

    def __post_init__(self) -> None:
        if self.published is None and self.computed is None:
            raise ValueError(
                f"anchor {self.name!r} is held against nothing; give published, computed or both"
            )
        if not self.allowed[0] < self.allowed[1]:
            raise ValueError(
                f"anchor {self.name!r} allows {self.allowed}; it must be (low, high) with low < high"
            )

    @property
    def expected(self) -> float:
        """The figure that the run is compared with: the computed one where there is one."""
        figure = self.published if self.computed is None else self.computed
        assert figure is not None
        return figure

    @property
    def holds(self) -> bool:
        return self.allowed[0] <= self.measured <= self.allowed[1]

    @property
    def off(self) -> float:
        """Where measured lies between the allowed ends: -1 at the low one, 1 at the high one."""
        low, high = self.allowed
        return (2 * self.measured - low - high) / (high - low)

    def cells(self) -> tuple[str, ...]:
        """The anchor as a row of a table."""
        figures = [figure(v) for v in (self.published, self.computed, self.measured)]
        time = "" if self.seconds is None else f"{self.seconds:.1f}"
        return (
            self.name,
            *figures,
            f"{figure(self.allowed[0])} … {figure(self.allowed[1])}",
            self.note,
            time,
            self.word,
        )

    @property
    def word(self) -> str:
        return "holds" if self.holds else "OUTSIDE"


def figure(value: float | None) -> str:
    """Up to six places, as the published figures have; '–' for none."""
    if value is None:
        return "–"
    if value and abs(value) < 1e-3:
        return digits(value)
    return f"{value:.6f}".rstrip("0").rstrip(".").replace("-", "−") or "0"


def within(value: float, slack: float, bias: tuple[float, float] = (0.0, 0.0)) -> tuple[float, float]:
    """From value + the lower expected bias - slack to value + the upper one + slack."""
    return value + bias[0] - slack, value + bias[1] + slack


def timed(anchors: Iterator[Anchor], clock: Callable[[], float]) -> Iterator[Anchor]:
    """Each with the seconds since the one before."""
    start = clock()
    for anchor in anchors:
        end = clock()
        yield replace(anchor, seconds=end - start)
        start = end


Group = Callable[..., Iterator[Anchor]]
Arrays = dict[str, Any]
