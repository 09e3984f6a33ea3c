"""The gradient's norm by lag in each number format, and the lags at which a format fails."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from ...gradients.cell.precision import FORMATS
from ..drawing.panels import Figure, counted
from ..drawing.profiles import Axes, profiles
from ..frame import PANEL, measured, of_metric, telling
from ..section import Colours, Section
from ..table import Table
from ._decades import OVERFLOW, UNDERFLOW, decades
from ._numbers import digits_of, numbers, whole

ORDER = 55
QUESTION = "Remembers?"
HEADING = "Gradient norm in each number format"
LAGS = {
    "first_subnormal": "first subnormal",
    "first_zero": "first zero",
    "stuck": "stuck from",
    "off": "10 % off from",
    "overflow": "overflow at",
}


def sections(rows: pd.DataFrame, colours: Colours) -> Iterator[Section]:
    yield Section(HEADING, _figures(rows, colours.cells), (_table(rows),))


def _figures(rows: pd.DataFrame, colours: dict[str, str]) -> tuple[Figure, ...]:
    """A panel for each cell, a line for each format; a line ends where the format has nothing left."""
    rows = of_metric(measured(rows), "log_norm")
    decades_of = rows["value"].where(np.isfinite(rows["value"])) / np.log(10)
    rows = rows.assign(value=decades_of, line=rows["variant"]).dropna(subset=["value", "lag"])
    if not len(rows):
        return ()
    rows = _in_order(rows, "line", list(FORMATS))
    rows = _in_order(rows, "label", list(colours))
    caption = (
        "Norm of the gradient of the joint state (all states of the cell side by side) by lag, as each number"
        f" format computes it. Mean of the log over {counted(rows['seed'].nunique(), 'seed')}. A line ends"
        " where the format holds 0 or infinity. It is flat where rounding keeps it from shrinking. Dotted:"
        " the smallest numbers of float16, and of float32 and bfloat16."
    )
    low, high = max(rows["value"].min(), UNDERFLOW), min(rows["value"].max(), OVERFLOW)
    extra = [key for key in telling(rows, PANEL) if key != "dtype"]
    axes = Axes("lag (steps)", "gradient norm", lambda axis: _dress(axis, low, high))
    return (profiles("precision", HEADING, caption, rows, extra, colours, axes),)


def _in_order(rows: pd.DataFrame, column: str, order: list[str]) -> pd.DataFrame:
    places = {name: i for i, name in enumerate(order)}
    return rows.assign(place=rows[column].map(places)).sort_values("place", kind="stable")


def _dress(axis: Any, low: float, high: float) -> None:
    decades(axis, low, high)
    for name in ("float16", "float32"):
        smallest = np.log10(2.0) * (FORMATS[name].exponents[0] - FORMATS[name].bits + 1)
        axis.axhline(smallest, color="#999999", linestyle=":", linewidth=1.0, zorder=0.5)


def _table(rows: pd.DataFrame) -> Table:
    """The lags at which each format fails."""
    metrics = {name: (title, whole) for name, title in LAGS.items()}
    metrics["stored_rate"] = ("stored rate (nats/step)", digits_of)
    note = (
        "Lags, median over seeds; –: not within T. Stored rate: of the derivatives of one state by the state"
        " before as the format stores them, computed exactly."
    )
    return numbers(HEADING, rows, metrics, note, variant="format")
