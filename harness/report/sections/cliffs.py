"""Where time jumps along each axis: the curves, and the jumps as a table."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import pandas as pd

from cellbench.cells.programs.formats import DTYPES

from ..drawing import drawing
from ..drawing.panels import Figure
from ..frame import DIRECTIONS, PROGRAM, SETTING, measured, of_metric, shared_settings, telling
from ..section import Colours, Section
from ..table import Column, Entry, Table, known, number, table_of
from ..units import digits, quantity

ORDER = 13
QUESTION = "Fast?"
HEADING = "Cliffs"
AXES = {"hidden_size": "H", "batch": "B", "layers": "layers", "dtype": "format"}
Row = dict[str, Any]


def sections(rows: pd.DataFrame, colours: Colours) -> Iterator[Section]:
    rows = measured(rows)
    if len(rows):
        figure = Figure("cliffs", HEADING, _caption(rows), partial(_draw, rows, colours.backends))
        yield Section(HEADING, (figure,), (_table(rows),))


def _caption(rows: pd.DataFrame) -> str:
    return f"{shared_settings(rows, [key for key in SETTING if key != 'run'])}A ring marks a jump."


def _draw(rows: pd.DataFrame, colours: dict[str, Any]) -> Any:
    """A panel for each cell, direction and axis: nanoseconds for a kFLOP; a ring where there is a jump."""
    panels = list(rows.groupby(["label", "direction", "variant"], sort=False))
    across = min(3, len(panels))
    names = [name for name in colours if name in set(rows["backend"])]
    room = drawing.legend_room(names)
    figure, axes = drawing.grid(-(-len(panels) // across), across, 2.0, room, gap=0.5, between=0.95)
    lines: dict[str, Any] = {}
    for axis, ((label, direction, variant), here) in zip(axes.flat, panels, strict=False):
        for backend, of in here.groupby("backend", sort=False):
            curve = of_metric(of, "seconds_per_flop").groupby("lag")["value"].median() * 1e12
            curve = curve[curve > 0]  # the axis is of logs
            (lines[backend],) = axis.plot(curve.index, curve, ".-", color=colours.get(backend))
            at = [lag for lag in of_metric(of, "jump")["lag"] if lag in curve.index]
            axis.plot(at, curve[at], "o", markersize=9, fillstyle="none", color=colours.get(backend))
        axis.set(title=f"{label}, {DIRECTIONS.get(direction, direction)}", xlabel=AXES.get(variant, variant))
        if any(len(line.get_ydata()) for line in axis.lines):
            axis.set_yscale("log")
        if variant == "dtype":
            axis.set_xticks(range(len(DTYPES)), reversed(DTYPES), fontsize=8.5)
    for axis in axes.flat[len(panels) :]:
        axis.set_axis_off()
    for row in axes:
        row[0].set_ylabel("ns / kFLOP")
    drawing.legend(axes[0, across - 1], lines, "backend")
    return figure


def _table(rows: pd.DataFrame) -> Table:
    keys = ("label", "backend", *telling(rows, beside=PROGRAM), "direction", "variant")
    columns: list[Column[Row]] = [
        Column("cell", partial(_setting, "label")),
        Column("backend", partial(_setting, "backend")),
        *(Column(key, partial(_setting, key)) for key in telling(rows, beside=PROGRAM)),
        Column("direction", lambda row: Entry(DIRECTIONS.get(row["direction"], "–"))),
        Column("axis", lambda row: Entry(AXES[row["variant"]])),
        Column("from", lambda row: _point(row["variant"], row["before"])),
        Column("to", lambda row: _point(row["variant"], row["lag"])),
        Column("time", lambda row: number(quantity(row["seconds_before"], "s"))),
        Column("then", lambda row: number(quantity(row["seconds"], "s"))),
        Column("jump", lambda row: number(digits(row["value"]) if row["value"] == row["value"] else "–")),
        Column("ran", partial(_setting, "implementation")),
    ]
    note = (
        "Jump: above 1, how many times more time grew than the work; below 1, the share to which it fell."
        " Smooth costs do neither. Work is FLOP; of formats it is FLOP times the bytes of a number. A row"
        " without a jump: its axis has none."
    )
    return table_of(HEADING, columns, _jumps(rows, keys), note)


def _jumps(rows: pd.DataFrame, keys: tuple[str, ...]) -> Iterator[Row]:
    """A row for each jump; one without for an axis that has none."""
    for _, here in rows.groupby(list(keys), sort=False):
        head = here.iloc[0].to_dict()
        seconds = of_metric(here, "seconds").groupby("lag")["value"].median()
        points = list(seconds.index)
        found = of_metric(here, "jump").drop_duplicates("lag")
        found = found[found["lag"].isin(points)]
        for jump in found.to_dict("records"):
            before = points[points.index(jump["lag"]) - 1]
            yield jump | {
                "before": before,
                "seconds_before": seconds[before],
                "seconds": seconds[jump["lag"]],
            }
        if not len(found):
            yield head | {
                "before": points[0],
                "lag": points[-1],
                "seconds_before": seconds.iloc[0],
                "seconds": seconds.iloc[-1],
                "value": float("nan"),
            }


def _point(axis: str, lag: Any) -> Entry:
    return Entry(DTYPES[len(DTYPES) - 1 - int(lag)]) if axis == "dtype" else number(str(int(lag)))


def _setting(key: str, row: Row) -> Entry:
    return known(row[key])
