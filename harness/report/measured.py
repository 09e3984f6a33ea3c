"""A measured value with the range it lies in, or the status of a case that has none."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .table import Entry, number
from .units import interval, quantity


@dataclass(frozen=True)
class Measured:
    """SI units. value is NaN where nothing was measured; then status may say why, low and high are NaN too.

    count: the processes or seeds that the range is taken over.
    """

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    status: str = ""
    count: int = 0

    @property
    def known(self) -> bool:
        return not math.isnan(self.value)

    def entry(self, kind: str) -> Entry:
        """The value in the unit of its kind with its range below, or the status in its place."""
        if self.status:
            return Entry(self.status, kind="status")
        return number(quantity(self.value, kind), interval(self.low, self.high, kind, self.value))
