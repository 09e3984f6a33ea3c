"""Steps per second against the sequence length."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from ..drawing import drawing
from ..drawing.panels import MANY, Figure, at, chunks, counted, cut, parts, titled
from ..frame import DIRECTIONS, FEWEST, PANEL, PROGRAM, estimates, measured, of_metric, sized, telling, unique

NAME, HEADING = "throughput", "Throughput"


def figures(rows: pd.DataFrame, colours: dict[str, str]) -> tuple[Figure, ...]:
    """Steps per second against T.

    A point for each cell and backend where there is one T, or where the cells are many.
    """
    rows = of_metric(measured(rows), "steps_per_s")
    rows = rows[np.isfinite(rows["value"]) & (rows["value"] > 0)]
    if not len(rows):
        return ()
    extra = telling(rows, PANEL, beside=(*PROGRAM, "steps"))
    keys = ["label", *extra, "direction", "backend", "steps"]
    rates = estimates(rows, [*keys, "match", "hidden_size"], "process")
    processes = int(rates["units"].max())
    over = f"the median of {counted(processes, 'process')}"
    over += ", and a {} their range." if processes >= FEWEST else "."
    many = len(unique(rates["label"])) > MANY
    if len(unique(rates["steps"])) > 1 and not many:
        panels, rest = cut(parts(rates, ["label", *extra]))
        caption = (
            "Time steps per second against the length T of the sequences; a step of the whole batch counts"
            f" once. A line is {over.format('band')}"
        )
        return (Figure(NAME, HEADING, caption + rest, lambda: _rate_curves(panels, extra, colours)),)
    lengths = len(unique(rates["steps"]))
    rates = rates[rates["steps"] == rates["steps"].max()]
    caption = (
        f"Time steps per second at T = {unique(rates['steps'])[0]}, further right is faster. A mark is"
        f" {over.format('bar')}"
    )
    if many:
        rates = _fastest_first(rates, extra)
        last = DIRECTIONS.get(_last_direction(rates), "")
        caption += f" From the fastest cell to the slowest, by the best backend{f', {last}' if last else ''}."
    caption += " The table has the other T." if lengths > 1 else ""
    return (Figure(NAME, HEADING, caption, lambda: _rate_points(rates, extra, colours)),)


def _rate_curves(panels: list, extra: list[str], colours: dict[str, str]) -> Any:
    """A row of panels for each direction, wrapped after four cells; all on the same axes."""
    every = pd.concat([rows for _, rows in panels])
    directions = [d for d in (*DIRECTIONS, "") if d in set(every["direction"])]
    blocks = chunks(panels, 4)
    shown = [name for name in colours if name in set(every["backend"])]
    room = drawing.legend_room(shown, 24)
    figure, axes = drawing.grid(
        len(blocks) * len(directions), min(4, len(panels)), 1.75, room, left=0.95, sharex=True, sharey=True
    )
    _rate_axes(axes[0, 0], every)
    for (b, block), (d, direction) in product(enumerate(blocks), enumerate(directions)):
        row = axes[b * len(directions) + d]
        for axis, (values, rows) in zip(row, block, strict=False):
            _rate_panel(axis, rows[rows["direction"] == direction], colours)
            titled(axis, f"{sized(values[0], rows.iloc[0])}{at(extra, values[1:])}")
        row[0].set_ylabel(f"{DIRECTIONS.get(direction, '')}\nsteps/s".strip())
        for unused in row[len(block) :]:
            unused.set_visible(False)
    drawing.label_lowest(axes, axes.size, "T (steps)")
    last = axes[0][min(4, len(panels)) - 1]
    drawing.legend(last, {n: drawing.line(colours[n], marker=_marker(n, colours)) for n in shown}, "backend")
    return figure


def _marker(name: str, names: dict[str, str]) -> str:
    return drawing.MARKERS[list(names).index(name) % len(drawing.MARKERS)]


def _rate_panel(axis: Any, rows: pd.DataFrame, colours: dict[str, str]) -> None:
    for backend, one in rows.sort_values("steps").groupby("backend", sort=False):
        axis.plot(
            one["steps"],
            one["median"],
            color=colours[backend],
            marker=_marker(backend, colours),
            markersize=5,
        )
        axis.fill_between(
            one["steps"], one["low"], one["high"], color=colours[backend], alpha=0.2, linewidth=0
        )


def _rate_axes(first: Any, every: pd.DataFrame) -> None:
    """Log scales and ticks at the T that were run, on one panel: the others share them."""
    from matplotlib.ticker import FixedLocator

    low, high = every[["median", "low"]].min().min(), every[["median", "high"]].max().max()
    steps = sorted(every["steps"].unique())
    drawing.log_axis(first.xaxis, steps[0], steps[-1], lambda value: f"{value:.0f}")
    drawing.log_axis(first.yaxis, low, high)
    first.xaxis.set_major_locator(FixedLocator(drawing.spaced(steps)))


def _last_direction(rates: pd.DataFrame) -> str:
    """Backward where that was timed."""
    return next(d for d in ("backward", "forward", "") if d in set(rates["direction"]))


def _fastest_first(rates: pd.DataFrame, extra: list[str]) -> pd.DataFrame:
    """The rows ordered by the best rate of the cell over its backends, backward where that was timed."""
    best = rates[rates["direction"] == _last_direction(rates)].groupby(["label", *extra])["median"].max()
    place = {values: i for i, values in enumerate(best.sort_values(ascending=False, kind="stable").index)}
    keys = rates[["label", *extra]].itertuples(index=False, name=None)
    order = [place.get(values if extra else values[0], len(place)) for values in keys]
    return rates.assign(order=order).sort_values("order", kind="stable")


def _rate_points(rates: pd.DataFrame, extra: list[str], colours: dict[str, str]) -> Any:
    """A panel for each direction, a line for each cell, a point for each backend."""
    names = {
        v: f"{sized(v[0], rows.iloc[0])}{at(extra, v[1:])}" for v, rows in parts(rates, ["label", *extra])
    }
    place = {values: i for i, values in enumerate(names)}
    directions = [d for d in (*DIRECTIONS, "") if d in set(rates["direction"])]
    shown = [name for name in colours if name in set(rates["backend"])]
    apart = 0.6 / max(len(shown), 1)
    height = max(
        1.2,
        len(names) * (max(0.25, 0.085 * len(shown)) if len(names) > MANY else max(0.3, 0.13 * len(shown))),
    )
    left = 0.3 + 0.075 * max(min(len(name), 40) for name in names.values())
    figure, axes = drawing.grid(
        1, len(directions), height, drawing.legend_room(shown, 24), left=left, sharey=True, sharex=True
    )
    for axis, direction in zip(axes[0], directions, strict=True):
        for row in rates[rates["direction"] == direction].to_dict("records"):
            y = place[tuple(row[k] for k in ("label", *extra))] + apart * (
                shown.index(row["backend"]) - (len(shown) - 1) / 2
            )
            _rate_point(axis, row, y, colours)
        axis.set_title(DIRECTIONS.get(direction, ""), loc="left", pad=5)
        axis.set_xlabel("steps/s")
        drawing.log_axis(
            axis.xaxis, rates[["median", "low"]].min().min(), rates[["median", "high"]].max().max()
        )
    axes[0][0].set_yticks(range(len(names)), [drawing.shortened(name, 40) for name in names.values()])
    axes[0][0].set_ylim(len(names) - 0.5, -0.5)
    drawing.legend(
        axes[0][-1], {n: drawing.line(colours[n], "", _marker(n, colours)) for n in shown}, "backend"
    )
    return figure


def _rate_point(axis: Any, row: dict[str, Any], y: float, colours: dict[str, str]) -> None:
    colour = colours[row["backend"]]
    axis.plot(
        row["median"], y, marker=_marker(row["backend"], colours), color=colour, markersize=6, linestyle=""
    )
    if np.isfinite(row["low"]):
        axis.hlines(y, row["low"], row["high"], color=colour, linewidth=1.6)
