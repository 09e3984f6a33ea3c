"""The gradient's norm against lag: lines in one panel for a few cells, a small panel for each of many.

Beside it the map of its rate over gain and bias, where it was asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from ..drawing import drawing
from ..drawing.panels import MANY, POINTS, Figure, at, counted, cut, parts, titled
from ..frame import PANEL, measured, of_metric, sized, telling, unique
from ..section import Colours, Section
from ..units import power_of_ten
from ._decades import OVERFLOW, UNDERFLOW, decades
from ._gradient_map import HEADING as MAP
from ._gradient_map import gradient_map

ORDER = 40
QUESTION = "Remembers?"
MAIN = "rate"
NAME, HEADING = "gradient_decay", "Gradient norm against lag"
ABREAST = 5  # small panels


def sections(rows: pd.DataFrame, colours: Colours) -> Iterator[Section]:
    yield Section(HEADING, _figures(rows, colours.cells))
    yield Section(MAP, gradient_map(rows))


def _figures(rows: pd.DataFrame, colours: dict[str, str]) -> tuple[Figure, ...]:
    """The norm of dL/d(state) against lag, in powers of ten.

    Log norms are drawn as they are, so nothing over- or underflows.
    """
    rows = of_metric(measured(rows), "log_norm")
    rows = rows[rows["steps"] == rows.groupby("run")["steps"].transform("max")]
    decades_of = rows["value"].where(np.isfinite(rows["value"])) / np.log(10)
    rows = rows.assign(decades=decades_of).dropna(subset=["decades", "lag"])
    if not len(rows):
        return ()
    extra = telling(rows, (*PANEL, "backend", "variant"))
    groups = [
        (values[:-1], here, unique(here["label"]))
        for values, here in parts(rows.assign(all=""), [*extra, "all"])
    ]
    caption = _caption(rows)
    if max(len(names) for _, _, names in groups) <= MANY:
        panels, rest = cut(groups)
        return (Figure(NAME, HEADING, caption + rest, lambda: _together(panels, extra, colours)),)
    single, rest = cut([(*panel, group) for group in groups for panel in _furthest_first(*group)])
    caption += (
        " A panel for each cell, in the order of their norms at the largest lag; that norm ends the title."
        " Grey: range over all cells; dashed: their median."
    )
    return (Figure(NAME, HEADING, caption + rest, lambda: _apart(single, extra)),)


def _caption(rows: pd.DataFrame) -> str:
    seeds, samples = rows["seed"].nunique(), rows["sample"].nunique()
    caption = (
        "Norm of the gradient of the loss with respect to the joint state (all states of the cell side by"
        " side), by lag. The lag is how many steps that state lies before the last. A line is the mean of the"
        f" log over {counted(samples, 'sample')} and {counted(seeds, 'seed')}"
        f"{', and a band the range over seeds' if seeds > 1 else ''}. A line has a gap where the gradient is"
        " exactly 0."
    )
    beyond = rows["decades"].min() < UNDERFLOW or rows["decades"].max() > OVERFLOW
    return caption + (" The axis ends where float64 does; lines go on beyond it." if beyond else "")


def _together(panels: list, extra: list[str], colours: dict[str, str]) -> Any:
    """A panel for each group, with a line for each of its cells."""
    named = [{name: sized(name, _first(rows, name)) for name in names} for _, rows, names in panels]
    room = drawing.legend_room([text for names in named for text in names.values()])
    height = 3.2 if len(panels) == 1 else 2.6
    figure, axes = drawing.grid(len(panels), 1, height, room, left=0.85, widest=8.0, sharex=True, sharey=True)
    limits = []
    for axis, (values, rows, _), names in zip(axes[:, 0], panels, named, strict=True):
        look = drawing.apart(colours, list(names))
        limits += [_decay_line(axis, rows[rows["label"] == name], look[name]) for name in names]
        titled(axis, at(extra, values).removeprefix(" · "))
        axis.set_ylabel("gradient norm")
        axis.tick_params(labelbottom=True)
        drawing.legend(axis, {text: drawing.line(look[name]) for name, text in names.items()}, "cell")
    decades(axes[0, 0], min(low for low, _ in limits), max(high for _, high in limits))
    axes[-1, 0].set_xlabel("lag (steps before the last)")
    return figure


def _first(rows: pd.DataFrame, name: str) -> Any:
    return rows[rows["label"] == name].iloc[0]


def _furthest_first(values: tuple, rows: pd.DataFrame, names: list[str]) -> list[tuple]:
    """(setting, cell, its rows), the largest mean norm at the largest lag first; a norm of 0 comes last."""
    at_end = rows[rows["lag"] == rows["lag"].max()].groupby("label")["decades"].mean()
    ordered = sorted(names, key=lambda name: -at_end.get(name, -np.inf))
    return [(values, name, rows[rows["label"] == name]) for name in ordered]


def _apart(panels: list, extra: list[str]) -> Any:
    """A small panel for each cell, before the range of all."""
    figure, axes = drawing.grid(
        -(-len(panels) // ABREAST),
        ABREAST,
        1.0,
        0,
        left=0.85,
        gap=0.14,
        between=0.42,
        sharex=True,
        sharey=True,
    )
    limits, behind = [], {}
    for axis, (values, name, rows, group) in zip(axes.flat, panels, strict=False):
        if values not in behind:
            behind[values] = group[1].groupby(["lag", "label"])["decades"].mean().unstack()
        all_cells = behind[values]
        axis.fill_between(
            all_cells.index, all_cells.min(axis=1), all_cells.max(axis=1), color="#ececec", linewidth=0
        )
        axis.plot(all_cells.index, all_cells.median(axis=1), color="#a0a0a0", linestyle="--", linewidth=1.0)
        limits.append(_decay_line(axis, rows, drawing.COLOURS[0]))
        end = rows.loc[rows["lag"] == rows["lag"].max(), "decades"].mean()
        norm = "0" if rows["lag"].max() < all_cells.index[-1] else power_of_ten(round(end))
        titled(axis, f"{sized(name, rows.iloc[0])}{at(extra, values)}", right=norm)
    decades(axes[0, 0], min(low for low, _ in limits), max(high for _, high in limits))
    for row in axes:
        row[0].set_ylabel("gradient norm")
    drawing.label_lowest(axes, len(panels), "lag (steps)")
    return figure


def _decay_line(axis: Any, rows: pd.DataFrame, colour: str) -> tuple[float, float]:
    """Draws one cell; returns its lowest and highest mean, in decades."""
    lags = np.arange(rows["lag"].min(), rows["lag"].max() + 1)
    by_seed = rows.groupby(["lag", "seed"])["decades"].mean().unstack().reindex(lags)
    mean = by_seed.mean(axis=1)
    keep = slice(None, None, max(1, len(lags) // POINTS)) if not mean.isna().any() else slice(None)
    axis.plot(lags[keep], mean.to_numpy()[keep], color=colour)
    if by_seed.shape[1] > 1:
        low, high = by_seed.min(axis=1).to_numpy(), by_seed.max(axis=1).to_numpy()
        axis.fill_between(lags[keep], low[keep], high[keep], color=colour, alpha=0.15, linewidth=0)
    return float(mean.min()), float(mean.max())
