"""Microseconds a step against the hidden size, and errors against T: a panel for each cell."""

from __future__ import annotations

from typing import Any

import pandas as pd

from ...report import frame as tidy
from ...report.drawing import drawing
from ...report.sections import error_growth
from .grid import DIRECTIONS, Grid

NAME, TITLE = "gpu", "Time of a step on a CUDA device"
NOTHING = "nothing was timed"
ERRORS = "gpu-errors"


def draw(grid: Grid, frame: pd.DataFrame) -> str:
    """SVG at the largest batch, with predictions dotted; a panel without times says so."""
    with drawing.style(NAME):
        names = [f"{backend}, {dtype}" for backend in grid.backends for dtype in grid.dtypes]
        colours = drawing.colours(grid.backends)
        labels = list(frame["label"].unique())
        room = drawing.legend_room(names)
        figure, axes = drawing.grid(len(DIRECTIONS), len(labels), 2.2, room, sharex=True)
        lines: dict[str, Any] = {}
        for row, direction in zip(axes, DIRECTIONS, strict=True):
            for axis, label in zip(row, labels, strict=True):
                here = frame[(frame["label"] == label) & (frame["direction"] == direction)]
                here = here[here["batch"] == max(grid.batches)]
                _panel(axis, here, grid, colours, lines)
                axis.set_title(f"{label}, {direction}")
            row[0].set_ylabel("µs / step")
        if lines:
            drawing.legend(axes[0, -1], lines)
        return drawing.svg(figure, NAME, TITLE)


def errors(frame: pd.DataFrame) -> str | None:
    """SVG of the error over T by number format, where it was followed; else None."""
    ready = tidy.prepare(frame)
    rows = tidy.of_metric(tidy.measured(ready), "error", "tolerance")
    return error_growth.figure(rows, ERRORS).svg if len(rows) else None


def _panel(axis: Any, rows: pd.DataFrame, grid: Grid, colours: dict[str, str], lines: dict[str, Any]) -> None:
    kinds = (("seconds", "-"), ("predicted_s", ":"))
    for (backend, dtype), here in rows.groupby(["backend", "dtype"], sort=False):
        for metric, dash in kinds:
            of = here[here["metric"] == metric].groupby("hidden_size")["value"].median().dropna()
            if not len(of):
                continue
            marker = drawing.MARKERS[list(grid.dtypes).index(dtype)]
            style = {"color": colours[backend], "linestyle": dash, "marker": marker}
            (line,) = axis.plot(of.index.astype(int), of / grid.steps * 1e6, **style)
            lines[f"{backend}, {dtype}" + (" (predicted)" if dash == ":" else "")] = line
    if not axis.lines:
        axis.text(0.5, 0.5, NOTHING, ha="center", va="center", transform=axis.transAxes)
        return
    axis.set_yscale("log")
    axis.set_xlabel("H")
