"""Curves by lag or index: a few cells in one panel, else a small panel for each cell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ..frame import sized, unique
from . import drawing
from .panels import MANY, POINTS, at, cut, parts, titled
from .panels import Figure as Drawn

ABREAST = 5  # small panels


@dataclass(frozen=True)
class Axes:
    """Names of both axes; dress gets one panel, all of which share their axes."""

    across: str
    up: str
    dress: Callable[[Any], None] = lambda axis: None


@dataclass(frozen=True)
class Panel:
    """A title, and by name the curve (columns lag, mid, low, high) with the row that it is of."""

    title: str
    curves: dict[str, pd.DataFrame]


def spread(rows: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """The mean of `value` over seeds and samples by keys and lag, with its 10 and 90 % as low and high."""
    over = rows.groupby([*keys, "lag"], sort=False)["value"]
    mean = over.mean()
    curves = mean.rename("mid").reset_index()
    quantiles = over.quantile([0.1, 0.9]).unstack().reindex(mean.index)  # unstack sorts
    return curves.assign(low=quantiles[0.1].to_numpy(), high=quantiles[0.9].to_numpy())


def profiles(
    name: str,
    heading: str,
    caption: str,
    rows: pd.DataFrame,
    extra: list[str],
    colours: dict[str, str],
    axes: Axes,
) -> Drawn:
    """A figure of `value` against lag.

    rows have a column `line` (one text where a cell has one curve); extra: settings that have
    panels of their own.
    """
    lines = list(dict.fromkeys(rows["line"]))
    keys = list(dict.fromkeys([*extra, "label", "line", "match", "hidden_size"]))
    curves = spread(rows, keys)
    few = max(here["label"].nunique() for _, here in parts(curves.assign(all=""), [*extra, "all"])) <= MANY
    if len(lines) == 1 and few:
        panels, names = _together(curves, extra), {n: colours[n] for n in unique(curves["label"])}
    else:
        panels, names = _apart(curves, extra), drawing.colours(lines)
    panels, rest = cut(panels)
    return Drawn(name, heading, caption + rest, lambda: _drawn(panels, names, axes))


def _together(curves: pd.DataFrame, extra: list[str]) -> list[Panel]:
    """A panel for each group, a line for each of its cells."""
    return [
        Panel(at(extra, values[:-1]).removeprefix(" · "), dict(list(rows.groupby("label", sort=False))))
        for values, rows in parts(curves.assign(all=""), [*extra, "all"])
    ]


def _apart(curves: pd.DataFrame, extra: list[str]) -> list[Panel]:
    """A panel for each cell of each group, a line for each of its lines."""
    return [
        Panel(
            f"{sized(values[0], rows.iloc[0])}{at(extra, values[1:])}",
            dict(list(rows.groupby("line", sort=False))),
        )
        for values, rows in parts(curves, ["label", *extra])
    ]


def _drawn(panels: list[Panel], names: dict[str, str], axes: Axes) -> Any:
    abreast = 1 if len(panels) == 1 else min(ABREAST, len(panels))
    legend = len(names) > 1 or abreast == 1
    room = drawing.legend_room(list(names)) if legend else 0.0
    height = 3.0 if abreast == 1 else 1.8 if len(panels) <= ABREAST else 1.0
    between = 0.42 if len(panels) > ABREAST else 0.75
    figure, grid = drawing.grid(
        -(-len(panels) // abreast),
        abreast,
        height,
        room,
        left=0.85,
        gap=0.14,
        between=between,
        widest=8.0 if abreast == 1 else 4.0,
        sharex=True,
        sharey=True,
    )
    look = drawing.apart(names, list(panels[0].curves)) if abreast == 1 else names
    for axis, panel in zip(grid.flat, panels, strict=False):
        for name, curve in panel.curves.items():
            _line(axis, curve, look[name])
        titled(axis, panel.title)
        axes.dress(axis)
    for row in grid:
        row[0].set_ylabel(axes.up)
    drawing.label_lowest(grid, len(panels), axes.across)
    if legend:
        drawing.legend(
            grid[0][abreast - 1],
            {n: drawing.line(look[n]) for n in (panels[0].curves if abreast == 1 else names)},
        )
    return figure


def _line(axis: Any, curve: pd.DataFrame, colour: str) -> None:
    curve = curve.sort_values("lag")
    curve = curve.iloc[:: max(1, len(curve) // POINTS)]
    axis.plot(curve["lag"], curve["mid"], color=colour)
    axis.fill_between(curve["lag"], curve["low"], curve["high"], color=colour, alpha=0.15, linewidth=0)
