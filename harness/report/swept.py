"""What runs differ in becomes the axes of figures of their own, by one rule, and what is missing is named.

The rule: of the keys in which the runs differ, the one of numbers with the most values is the x axis, or one
of names where there is none of numbers. The colour is the next key that varies, in the order of KEYS, with as
many values as there are colours. Every combination of the others is a panel. Options of the probe are keys
too, after those of KEYS. Seeds are not: a point is the median over them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from ..store import imported, provenance
from . import differing
from .drawing import drawing
from .drawing.panels import Figure, at, cut, titled
from .frame import OPTION, estimates, measured, setting_text, unique, varying
from .section import Section
from .sections import main_metric
from .table import Column, Entry, Table, table_of

HEADING = "Over the sweep"
NUMBERS = ("steps", "batch", "input_size", "hidden_size", "threads")
NAMES = ("label", "backend", "direction", "dtype", "device", "machine", "task", "variant", "match")
KEYS = ("label", "backend", *NUMBERS, *NAMES[2:])
TITLES = {"label": "cell", "steps": "T", "batch": "B", "input_size": "I", "hidden_size": "H"}
MOST_MISSING = 200  # rows of a table


@dataclass(frozen=True)
class Axes:
    """The keys of a figure: its x axis, its colour (or none), and those of its panels."""

    x: str
    colour: str | None
    panel: tuple[str, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.x, *([self.colour] if self.colour else []), *self.panel)


def axes_of(rows: pd.DataFrame) -> Axes | None:
    """The axes by the rule; None where the runs differ in no key, or have measured the same case."""
    different = [key for key in between_runs(rows) if key != "task"]  # a line over tasks says nothing
    keys = keys_of(rows)
    if not different or rows.drop_duplicates(["run", "case"]).duplicated("case").any():
        return None
    count = {key: len(unique(rows[key])) for key in keys}
    numbers = [key for key in different if is_number(rows, key)]
    x = max(numbers or different, key=lambda key: count[key])  # of equals the first
    others = [key for key in varying(rows, keys) if key != x and not (key == "match" and x == "hidden_size")]
    colour = next((key for key in others if count[key] <= len(drawing.COLOURS)), None)
    return Axes(x, colour, tuple(key for key in others if key != colour))


def keys_of(rows: pd.DataFrame) -> tuple[str, ...]:
    """KEYS, and the columns of the probe's options."""
    return (*KEYS, *(str(name) for name in rows.columns if str(name).startswith(OPTION)))


def is_number(rows: pd.DataFrame, key: str) -> bool:
    """Whether a key's values are numbers, which have an order and a distance."""
    return key in NUMBERS or (key.startswith(OPTION) and is_numeric_dtype(rows[key]))


def title(key: str) -> str:
    """What a key is called: T, or learning_rate of probe.training.learning_rate."""
    return TITLES.get(key, key.rpartition(".")[2])


def between_runs(rows: pd.DataFrame) -> list[str]:
    """The keys of which the runs have different values."""
    values = {
        key: rows.groupby("run", sort=False)[key].agg(lambda one: frozenset(unique(one)))
        for key in keys_of(rows)
    }
    return [key for key, sets in values.items() if sets.nunique() > 1 and frozenset() not in set(sets)]


def with_machines(ready: pd.DataFrame, manifests: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """The frame with the column `machine`: times of two machines are never taken together."""
    names = {str(manifest.get("run")): provenance.machine_name(manifest) for manifest in manifests}
    return ready.assign(machine=[names.get(run, "") for run in ready["run"]])


def section(ready: pd.DataFrame, manifests: Sequence[dict[str, Any]]) -> Section:
    """A figure for each probe whose runs differ in a key, and a table of what is missing in them."""
    figures, missing, tables = [], [], []
    if len(unique(ready["run"])) > 1:
        ready = with_machines(ready, manifests)
        for probe, rows in ready.groupby("probe", sort=False):
            rows = differing.with_options(rows, str(probe), manifests)
            if (axes := axes_of(rows)) is None:
                continue
            figure = figure_of(str(probe), rows, axes)
            figures += [figure] if figure else []
            if probe != imported.PROBE:  # files of other tools owe each other no combination
                missing += [(str(probe), text, reason) for text, reason in gaps(rows, axes)]
        tables += [one for one in (differing.table(ready, manifests),) if one]
    tables += [_table(missing)] if missing else []
    return Section(HEADING, tuple(figures), tuple(tables))


def figure_of(probe: str, rows: pd.DataFrame, axes: Axes) -> Figure | None:
    """The probe's main metric over the x axis; None where it has no number."""
    metric = main_metric(probe, rows)
    rows = measured(rows)
    rows = rows[(rows["metric"] == metric) & np.isfinite(rows["value"])]
    if not len(rows):
        return None
    seeds = len(unique(rows["seed"]))
    unit = "seed" if seeds > 1 else "process"
    points = estimates(rows, axes.keys, unit)
    panels, rest = cut(_panels(points, axes))
    differ = ", ".join(map(title, between_runs(rows)))
    words = metric.replace("_per_", " per ").replace("_", " ")
    caption = f"The {words} that the probe {probe} measured, against {title(axes.x)}."
    caption += f" The runs differ in {differ}."
    caption += f" Median over {seeds} seeds." if seeds > 1 else ""
    if np.isfinite(points["low"]).any():
        caption += f" Bar: range over {'seeds' if unit == 'seed' else 'processes'}."
    units = unique(rows["unit"])
    label = f"{words} ({units[0]})" if units and units[0] not in ("1", "1/s", metric) else words
    return Figure(
        f"sweep-{probe}", f"{probe} over the sweep", caption + rest, lambda: _draw(panels, axes, label)
    )


def _panels(points: pd.DataFrame, axes: Axes) -> list[tuple[tuple[Any, ...], pd.DataFrame]]:
    if not axes.panel:
        return [((), points)]
    places = [{value: n for n, value in enumerate(points[key].unique())} for key in axes.panel]
    found = list(points.groupby(list(axes.panel), sort=False))
    return sorted(found, key=lambda one: [place[value] for place, value in zip(places, one[0], strict=True)])


def _draw(panels: list[tuple[tuple[Any, ...], pd.DataFrame]], axes: Axes, label: str) -> Any:
    """Four panels abreast, on the same axes."""
    every = pd.concat([rows for _, rows in panels])
    names = unique(every[axes.colour]) if axes.colour else [""]
    ordered = axes.colour is not None and is_number(every, axes.colour)
    names = sorted(names) if ordered else names
    shown = [setting_text({axes.colour: name}, [axes.colour]) if axes.colour else "" for name in names]
    look = drawing.shades(shown) if ordered else drawing.colours(shown)
    columns = min(4, len(panels))
    room = drawing.legend_room(shown, 24) if axes.colour else 0.2
    figure, grid = drawing.grid(
        -(-len(panels) // columns), columns, 2.4, room, left=0.95, sharex=True, sharey=True
    )
    places = _x_axis(grid[0, 0], every, axes.x)
    for axis, (values, rows) in zip(grid.flat, panels, strict=False):
        for name, text in zip(names, shown, strict=True):
            line = rows[rows[axes.colour] == name] if axes.colour else rows
            _line(axis, line.assign(place=line[axes.x].map(places)).sort_values("place"), look[text])
        titled(axis, at(axes.panel, values).removeprefix(" · "))
    for row in grid:
        row[0].set_ylabel(label)
    low, high = every[["median", "low"]].min().min(), every[["median", "high"]].max().max()
    if low > 0:
        drawing.log_axis(grid[0, 0].yaxis, low, high)
    drawing.label_lowest(grid, len(panels), title(axes.x))
    if axes.colour:
        lines = {text: drawing.line(look[text], marker="o") for text in shown}
        drawing.legend(grid[0][columns - 1], lines, title(axes.colour))
    return figure


def _x_axis(first: Any, every: pd.DataFrame, key: str) -> dict[Any, float]:
    """Sets up the x axis on one panel, which the others share; the place of each value."""
    from matplotlib.ticker import FixedLocator

    values = unique(every[key])
    if not is_number(every, key):
        first.set_xticks(range(len(values)), [drawing.shortened(str(value), 16) for value in values])
        first.set_xlim(-0.5, len(values) - 0.5)
        return {value: float(place) for place, value in enumerate(values)}
    values = sorted(values)
    drawing.log_axis(first.xaxis, values[0], values[-1], lambda value: f"{value:g}")
    first.xaxis.set_major_locator(FixedLocator(drawing.spaced(values)))
    return {value: float(value) for value in values}


def _line(axis: Any, points: pd.DataFrame, colour: Any) -> None:
    axis.plot(points["place"], points["median"], color=colour, marker="o", markersize=4)
    bars = points[np.isfinite(points["low"])]
    axis.vlines(bars["place"], bars["low"], bars["high"], color=colour, linewidth=1.2)


def gaps(rows: pd.DataFrame, axes: Axes) -> Iterator[tuple[str, str]]:
    """(a combination of the keys' values without a result, why) of all that the runs' values make."""
    keys = list(axes.keys)
    good = set(measured(rows)[keys].itertuples(index=False, name=None))
    bad = rows[rows["status"] != "ok"].drop_duplicates(keys)
    reasons = {
        tuple(row[key] for key in keys): f"{row['status']}: {row['reason']}" for row in bad.to_dict("records")
    }
    for values in product(*(unique(rows[key]) for key in keys)):
        if values not in good:
            where = dict(zip(keys, values, strict=True))
            yield setting_text(where, keys), reasons.get(values, "no run has measured it")


def _table(missing: list[tuple[str, str, str]]) -> Table:
    columns: list[Column[tuple[str, str, str]]] = [
        Column("probe", lambda row: Entry(row[0])),
        Column("without a result", lambda row: Entry(row[1])),
        Column("why", lambda row: Entry(row[2])),
    ]
    more = f"The first {MOST_MISSING} of {len(missing):,}." if len(missing) > MOST_MISSING else ""
    return table_of("Missing in the sweep", columns, missing[:MOST_MISSING], more)
