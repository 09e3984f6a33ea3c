"""The y axis of gradient norms, in powers of ten."""

from __future__ import annotations

from typing import Any

from ..units import power_of_ten

UNDERFLOW, OVERFLOW = -330.0, 310.0  # decades: a little beyond what float64 can hold; the axis is cut there


def decades(first: Any, low: float, high: float) -> None:
    """The shared y axis, as far as float64 reaches; low and high are the lowest and highest of all lines."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    low, high = min(max(low, UNDERFLOW), OVERFLOW - 1), max(min(high, OVERFLOW), UNDERFLOW + 1)
    margin = max(0.04 * (high - low), 0.5)
    first.set_ylim(low - margin, high + margin)
    first.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
    first.yaxis.set_major_formatter(FuncFormatter(lambda value, _: power_of_ten(value)))
