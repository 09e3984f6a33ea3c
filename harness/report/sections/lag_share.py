"""How much of the recurrent weights' gradient comes from within a lag."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from ..drawing.panels import Figure
from ..drawing.profiles import Axes, profiles
from ..frame import PANEL, measured, of_metric, telling
from ..section import Colours, Section
from ..table import Table
from ._lines import mean_over, with_lines
from ._numbers import digits_of, numbers, whole

ORDER = 50
QUESTION = "Remembers?"
MAIN = "k95"
HEADING = "Lag share of the parameter gradient"


def sections(rows: pd.DataFrame, colours: Colours) -> Iterator[Section]:
    yield Section(HEADING, _figures(rows, colours.cells), (_table(rows),))


def _figures(rows: pd.DataFrame, colours: dict[str, str]) -> tuple[Figure, ...]:
    """Signed shares summed from lag 0 on: 1 at the end, 0.95 at k95."""
    rows = of_metric(measured(rows), "signed")
    if not len(rows):
        return ()
    rows = rows.sort_values("lag", kind="stable")
    one = ["run", "case", "label", "variant", "seed", "hidden_size"]
    rows = rows.assign(value=rows.groupby(one)["value"].cumsum())
    caption = (
        "Share of the gradient of the recurrent weights that the last k steps explain, for a loss at the last"
        " step. k is the lag: steps back from the last one. Above 1 later lags pull the other way."
        f" {mean_over(rows)} Dashed: 95 %, which is reached at k95."
    )
    axes = Axes("lag (steps before the last)", "share so far", _dress)
    drawn = profiles("lag_share", HEADING, caption, with_lines(rows), telling(rows, PANEL), colours, axes)
    return (drawn,)


def _dress(axis: Any) -> None:
    axis.axhline(0.95, color="#777777", linestyle=(0, (4, 3)), linewidth=1.1, zorder=0.5)
    axis.set_xscale("symlog", linthresh=10, linscale=1.0)
    axis.set_xlim(left=0)
    axis.set_xticks([0, 5, 10, 100], ["0", "5", "10", "100"])


def _table(rows: pd.DataFrame) -> Table:
    """k95 and the gradient's size."""
    metrics = {
        "k95": ("k95 (steps)", whole),
        "parameter_log_norm": ("log norm of the gradient (nats)", digits_of),
    }
    note = (
        "k95: the smallest lag within which 95 % of the recurrent weights' gradient arises. Median over"
        " seeds."
    )
    return numbers(HEADING, rows, metrics, note)
