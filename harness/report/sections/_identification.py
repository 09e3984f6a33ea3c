"""What an input does to later answers: of trained networks, beside the systems that they had to identify."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ..drawing import drawing
from ..drawing.panels import Figure, at, cut, parts, titled
from ..drawing.profiles import spread
from ..frame import measured, of_metric, telling, unique
from ._decades import decades
from ._lines import mean_over

ABREAST = 2
TRUE = {"color": "#222222", "linestyle": (0, (4, 3)), "linewidth": 1.4, "zorder": 4}
APART = ("run", "backend", "device", "dtype", "size")


HEADING = "Identified systems"


def identification(rows: pd.DataFrame, colours: dict[str, str]) -> tuple[Figure, ...]:
    """A panel for each system: the norm of d answer / d input by lag, a line a cell, the system dashed."""
    rows = of_metric(measured(rows), "own_profile", "true_profile")
    decades_of = rows["value"].where(np.isfinite(rows["value"])) / np.log(10)
    rows = rows.assign(value=decades_of).dropna(subset=["value", "lag"])
    if not len(rows):
        return ()
    extra = telling(rows, APART, beside=("label", "task"))
    panels, rest = cut(parts(rows, ["task", *extra]))
    caption = (
        "Norm of the derivative of the last answer by the input so many steps before. Dashed: the system"
        " itself, from its equations; lines: the trained networks. A network lies on the dashed line where it"
        " has found the system, and not its next values alone. Where a system is fed its own last value,"
        f" several shapes of the first lags tell the same state; there the slope counts."
        f" {mean_over(rows, 'Mean of the log')}"
    )
    drawn = Figure("identification", HEADING, caption + rest, lambda: _drawn(panels, extra, colours))
    return (drawn,)


def _drawn(panels: list, extra: list[str], colours: dict[str, str]) -> Any:
    names = unique(pd.concat([rows for _, rows in panels])["label"])
    abreast = min(ABREAST, len(panels))
    room = drawing.legend_room([*names, "the system"])
    figure, grid = drawing.grid(
        -(-len(panels) // abreast),
        abreast,
        2.2,
        room,
        left=0.85,
        gap=0.75,
        between=0.75,
        widest=8.0 if abreast == 1 else 4.0,
    )
    look = drawing.apart(colours, names)
    for axis, (values, rows) in zip(grid.flat, panels, strict=False):
        low, high = _panel(axis, rows, look)
        decades(axis, low, high)
        axis.set_xlim(left=0)
        titled(axis, f"{values[0]}{at(extra, values[1:])}")
    for row in grid:
        row[0].set_ylabel("|d answer / d input|")
    drawing.label_lowest(grid, len(panels), "lag (steps before the last)")
    lines = {"the system": drawing.line(TRUE["color"], TRUE["linestyle"])} | {
        n: drawing.line(look[n]) for n in names
    }
    drawing.legend(grid[0][abreast - 1], lines)
    return figure


def _panel(axis: Any, rows: pd.DataFrame, look: dict[str, str]) -> tuple[float, float]:
    """Draws the curves of one system; returns the lowest and highest mean, in decades."""
    true = spread(of_metric(rows, "true_profile"), ["task"])
    own = spread(of_metric(rows, "own_profile"), ["label"])
    for name, curve in parts(own, ["label"]):
        axis.plot(curve["lag"], curve["mid"], color=look[name[0]])
        axis.fill_between(
            curve["lag"], curve["low"], curve["high"], color=look[name[0]], alpha=0.15, linewidth=0
        )
    axis.plot(true["lag"], true["mid"], **TRUE)
    both = pd.concat([true["mid"], own["mid"]])
    return float(both.min()), float(both.max())
