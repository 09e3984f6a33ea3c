"""Benchmarks of another tool, as `cellbench import` brought them in: their times, by group."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from ...store.imported import SECONDS
from ..drawing import drawing
from ..drawing.panels import Figure
from ..frame import measured, unique, varying
from ..section import Colours, Section
from ..table import Column, Entry, Table, known, number, table_of
from ..units import interval, quantity

ORDER = 15
QUESTION = "Fast?"
HEADING = "Imported benchmarks"
MOST = 60  # benchmarks that the figure has room for
Case = tuple[dict[str, Any], pd.DataFrame]


def sections(rows: pd.DataFrame, colours: Colours) -> Iterator[Section]:
    rows = measured(rows)
    rows = rows[rows["metric"].str.startswith("seconds") & np.isfinite(rows["value"])]
    if len(rows):
        cases = _cases(rows)
        yield Section(HEADING, (_figure(cases),), (_table(rows, cases),))


def _cases(rows: pd.DataFrame) -> list[Case]:
    """A benchmark of a run each, those of a group together."""
    keys = ["task", "variant", *varying(rows, ("run",))]
    places = {group: i for i, group in enumerate(unique(rows["task"]))}
    cases = [(dict(zip(keys, values, strict=True)), case) for values, case in rows.groupby(keys, sort=False)]
    return sorted(cases, key=lambda case: places.get(case[0]["task"], -1))


def _median(case: Case) -> float:
    times = case[1]
    return float(times.loc[times["metric"].isin(SECONDS), "value"].median())


def _range(case: Case) -> tuple[float, float]:
    return float(case[1]["value"].min()), float(case[1]["value"].max())


def _table(rows: pd.DataFrame, cases: list[Case]) -> Table:
    columns: list[Column[Case]] = [
        Column("group" if key == "task" else "benchmark" if key == "variant" else key, partial(_key, key))
        for key in cases[0][0]
        if key != "task" or unique(rows["task"]) != [""]
    ]
    columns.append(Column("time", _time))
    columns.append(Column("rounds", lambda case: number(str(sum(case[1]["metric"] == "seconds") or "–"))))
    columns.append(Column("note", lambda case: Entry(case[1]["reason"].iloc[0])))
    note = "Median over rounds; below it their range. Times of one process, which drift from run to run."
    return table_of(HEADING, columns, cases, note)


def _key(key: str, case: Case) -> Entry:
    return known(case[0][key])


def _time(case: Case) -> Entry:
    middle, (low, high) = _median(case), _range(case)
    return number(quantity(middle, "s"), interval(low, high, "s", middle) if high > low else "")


def _figure(cases: list[Case]) -> Figure:
    shown = cases[:MOST]
    rest = f" The first {MOST} of {len(cases)}; the table has all." if len(cases) > MOST else ""
    caption = f"Seconds a round, further left is faster: median, bar: range over rounds.{rest}"
    return Figure("benchmark", HEADING, caption, lambda: _draw(shown))


def _draw(cases: list[Case]) -> Any:
    """A point and its range for each benchmark, on one logarithmic axis."""
    figure, axes = drawing.grid(1, 1, 0.6 + 0.22 * len(cases), 0.2, left=3.6)
    axis = axes[0, 0]
    for y, case in enumerate(cases):
        (low, high), middle = _range(case), _median(case)
        axis.plot([low, high], [y, y], color="#999999", linewidth=2)
        axis.plot([middle], [y], "o", color="black", markersize=4)
    names = [" ".join(filter(None, map(str, case[0].values()))) for case in cases]
    axis.set_yticks(range(len(cases)), [drawing.shortened(name, 52) for name in names])
    axis.set_ylim(len(cases) - 0.5, -0.5)
    ends = [value for case in cases for value in _range(case) if value > 0]
    if ends:
        axis.set_xscale("log")
        drawing.log_axis(axis.xaxis, min(ends), max(ends))
    axis.set_xlabel("seconds")
    return figure
