"""Lyapunov exponents by their place in the spectrum, and what follows from them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from ..drawing.panels import Figure
from ..drawing.profiles import Axes, profiles
from ..frame import PANEL, measured, of_metric, telling
from ..section import Colours, Section
from ..table import Table
from ._lines import mean_over, with_lines
from ._numbers import digits_of, numbers, whole

ORDER = 45
QUESTION = "Remembers?"
HEADING = "Lyapunov spectrum"


def sections(rows: pd.DataFrame, colours: Colours) -> Iterator[Section]:
    yield Section(HEADING, _figures(rows, colours.cells), (_table(rows),))


def _figures(rows: pd.DataFrame, colours: dict[str, str]) -> tuple[Figure, ...]:
    """Exponents, largest first, against their index."""
    rows = of_metric(measured(rows), "exponent")
    rows = rows[np.isfinite(rows["value"])]
    if not len(rows):
        return ()
    caption = (
        "Lyapunov exponents of the joint state (all states of the cell side by side), largest first. Each is"
        " the growth of a small difference along one direction; above 0 it grows (chaos)."
        f" {mean_over(rows)} A line ends where directions die at once."
    )
    axes = Axes("index of the exponent", "nats/step", _dress)
    drawn = profiles("spectrum", HEADING, caption, with_lines(rows), telling(rows, PANEL), colours, axes)
    return (drawn,)


def _dress(axis: Any) -> None:
    axis.axhline(0, color="#777777", linestyle=(0, (4, 3)), linewidth=1.1, zorder=0.5)


def _table(rows: pd.DataFrame) -> Table:
    """Dimension, entropy and the check of the sum rule."""
    metrics = {
        "kaplan_yorke": ("Kaplan-Yorke dimension", digits_of),
        "entropy_rate": ("entropy rate (nats/step)", digits_of),
        "sum_residual": ("sum rule residual", digits_of),
        "state_size": ("state", whole),
    }
    note = (
        "Median over seeds. Residual: sum of all exponents less the mean log |det J|, J the derivative of one"
        " state by the state before. It is rounding alone where the exponents are right."
    )
    return numbers(HEADING, rows, metrics, note)
