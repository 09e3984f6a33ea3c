"""The error against float64 over T in each number format, beside what is allowed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from ..drawing import drawing
from ..drawing.panels import Figure, at, cut, parts, titled
from ..frame import DIRECTIONS, PANEL, PROGRAM, measured, of_metric, sized, telling, unique
from ..section import Colours, Section
from ..table import Column, Entry, Table, known, number, table_of

ORDER = 5
QUESTION = "Right?"
NAME, HEADING = "error_growth", "Error against T in each number format"
ABREAST = 3
Row = dict[str, Any]


def sections(rows: pd.DataFrame, colours: Colours) -> Iterator[Section]:
    rows = measured(rows)
    if len(rows):
        yield Section(HEADING, (figure(rows),), (_table(rows),))


def figure(rows: pd.DataFrame, name: str = NAME) -> Figure:
    """A panel for each cell and direction, a line for each backend and format, its tolerance dashed."""
    extra = telling(rows, [key for key in PANEL if key not in ("dtype", "size")], ("label", "dtype"))
    panels, rest = cut(parts(rows, ["label", "direction", *extra]))
    caption = (
        "Largest error of any array (outputs, states, gradients) against the float64 reference, relative to"
        " the array's largest entry, over the length T of the sequence. Dashed: the tolerance stated for the"
        " format. Below it is right."
    )
    return Figure(name, HEADING, caption + rest, partial(_draw, panels, extra))


def _draw(panels: list[Any], extra: list[str]) -> Any:
    from matplotlib.ticker import FixedLocator

    every = pd.concat([rows for _, rows in panels])
    formats, backends = drawing.colours(unique(every["dtype"])), unique(every["backend"])
    markers = {name: drawing.MARKERS[k % len(drawing.MARKERS)] for k, name in enumerate(backends)}
    across = min(ABREAST, len(panels))
    shape = (-(-len(panels) // across), across)
    room = drawing.legend_room([*formats, *backends])
    drawn, axes = drawing.grid(*shape, 2.0, room, left=0.95, sharex=True, sharey=True)
    errors = every["value"][np.isfinite(every["value"]) & (every["value"] > 0)]
    drawing.log_axis(axes[0, 0].xaxis, every["lag"].min(), every["lag"].max(), lambda value: f"{value:.0f}")
    axes[0, 0].xaxis.set_major_locator(FixedLocator(drawing.spaced(sorted(every["lag"].dropna().unique()))))
    drawing.log_axis(axes[0, 0].yaxis, errors.min(), errors.max())
    for axis, ((label, direction, *values), here) in zip(axes.flat, panels, strict=False):
        _panel(axis, here, formats, markers)
        title = f"{sized(label, here.iloc[0])}, {DIRECTIONS.get(direction, direction)}"
        titled(axis, title + at(extra, values))
    for row in axes:
        row[0].set_ylabel("relative error")
    drawing.label_lowest(axes, len(panels), "T (steps)")
    lines = {name: drawing.line(colour) for name, colour in formats.items()}
    lines |= {name: drawing.line("#6b7177", "", marker) for name, marker in markers.items()}
    drawing.legend(axes[0, across - 1], lines | {"tolerance": drawing.line("#6b7177", "--")})
    return drawn


def _panel(axis: Any, rows: pd.DataFrame, formats: dict[str, str], markers: Mapping[str, str]) -> None:
    for (dtype, backend), here in rows.groupby(["dtype", "backend"], sort=False):
        error = of_metric(here, "error").groupby("lag")["value"].max()
        axis.plot(error.index, error, color=formats[dtype], marker=markers[backend], markersize=5)
    for dtype, here in of_metric(rows, "tolerance").groupby("dtype", sort=False):
        allowed = here.groupby("lag")["value"].max()
        axis.plot(allowed.index, allowed, color=formats[dtype], linestyle="--", linewidth=1.0)


def _table(rows: pd.DataFrame) -> Table:
    """A row for each case at its longest T."""
    keys = ["label", "backend", *telling(rows, PANEL, beside=PROGRAM), "direction"]
    keys = list(dict.fromkeys([*keys, "dtype", "implementation"]))
    columns: list[Column[Row]] = [
        Column({"label": "cell", "dtype": "format", "implementation": "ran"}.get(key, key), partial(_of, key))
        for key in keys
    ]
    columns += [
        Column("T", lambda row: number(f"{row['steps']:.0f}")),
        Column("error", lambda row: number(f"{row['error']:.1e}")),
        Column("tolerance", lambda row: number(f"{row['tolerance']:.1e}")),
    ]
    note = "Of several T the longest."
    return table_of(HEADING, columns, [_row(keys, *group) for group in parts(rows, keys)], note)


def _row(keys: list[str], values: tuple[Any, ...], rows: pd.DataFrame) -> Row:
    error, allowed = (of_metric(rows, name).groupby("lag")["value"].max() for name in ("error", "tolerance"))
    last = {"steps": error.index[-1], "error": error.iloc[-1], "tolerance": allowed.iloc[-1]}
    return dict(zip(keys, values, strict=True)) | last


def _of(key: str, row: Row) -> Entry:
    value = row[key]
    return known(DIRECTIONS.get(value, value) if key == "direction" else value)
