"""Numbers as coloured fields with their text in them, in rows and columns that have names; several panels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import drawing
from .panels import titled

MOST_TEXTS = 14  # columns with a text in every field
LONGEST = 34  # characters of a row's name
BAR = 1.3  # inches of a bar of colours, at least


@dataclass(frozen=True)
class Field:
    """One panel: values (rows, columns), NaN where there is none, and the text in each field, '' for none."""

    title: str
    values: np.ndarray
    texts: list[list[str]]


@dataclass(frozen=True)
class Scale:
    """The values at both ends of the colours.

    colours: the name of matplotlib's map, or a colour for each whole number between the ends.
    """

    low: float
    high: float
    colours: str | tuple[str, ...] = "viridis"


def fields(
    panels: Sequence[Field],
    rows: Sequence[str],
    columns: Sequence[str],
    scale: Scale,
    *,
    across: str = "",
    up: str = "",
    abreast: int = 6,
    bar: str = "",
    column: float = 0.62,
) -> Any:
    """A figure of panels with the same rows and columns.

    bar names the values beside a bar of colours; column is a column's width in inches.
    """
    abreast = min(abreast, len(panels))
    left = 0.35 + 0.075 * max([min(len(r), LONGEST) for r in rows], default=0) + (0.25 if up else 0)
    figure, axes = drawing.grid(
        -(-len(panels) // abreast),
        abreast,
        max(0.24 * len(rows), 0.4),
        0.95 if bar else 0.0,
        left=left,
        gap=0.15,
        between=1.0,
        widest=max(column * len(columns), 1.4),
        sharey=True,
    )
    for axis, panel in zip(axes.flat, panels, strict=False):
        image = _field(axis, panel, scale)
        _named(axis, rows, columns)
        titled(axis, panel.title)
    for unused in axes.flat[len(panels) :]:
        unused.set_visible(False)
    for row in axes:
        row[0].set_ylabel(up)
    for axis in axes.flat[max(0, len(panels) - abreast) : len(panels)]:
        axis.set_xlabel(across)
    if bar:
        _colour_bar(figure, axes[:, abreast - 1], image, bar)
    return figure


def _named(axis: Any, rows: Sequence[str], columns: Sequence[str]) -> None:
    names = [drawing.shortened(c, 12) for c in columns]
    axis.set_xticks(range(len(columns)), names, rotation=45 if _long(columns) else 0)
    axis.set_yticks(range(len(rows)), [drawing.shortened(r, LONGEST) for r in rows])


def _colour_bar(figure: Any, beside: Any, image: Any, name: str) -> None:
    width, height = figure.get_size_inches()
    first, last = beside[0].get_position(), beside[-1].get_position()
    tall = max(first.y1 - last.y0, BAR / height)  # beside low panels it is as long as its name
    low = (first.y1 + last.y0 - tall) / 2
    bar = figure.add_axes((first.x1 + 0.15 / width, low, 0.12 / width, tall))
    colour_bar = figure.colorbar(image, cax=bar)
    colour_bar.solids.set_rasterized(False)  # a page loads no image
    colour_bar.solids.set_edgecolor("face")
    colour_bar.set_label(name)
    colour_bar.outline.set_visible(False)


def _field(axis: Any, panel: Field, scale: Scale) -> Any:
    values = np.clip(panel.values, scale.low, scale.high)
    colours = _map(scale).with_extremes(bad="#f2f2f2")
    image = axis.pcolormesh(
        np.arange(values.shape[1] + 1) - 0.5,
        np.arange(values.shape[0] + 1) - 0.5,
        np.ma.masked_invalid(values),
        cmap=colours,
        vmin=scale.low,
        vmax=scale.high,
        edgecolors="white",
        linewidth=1.0,
    )
    axis.set_facecolor("#f2f2f2")
    axis.grid(False)
    axis.set_ylim(values.shape[0] - 0.5, -0.5)
    axis.tick_params(length=0)
    for side in axis.spines.values():
        side.set_visible(False)
    if values.shape[1] <= MOST_TEXTS:
        for (i, k), value in np.ndenumerate(values):
            axis.text(
                k,
                i,
                panel.texts[i][k],
                ha="center",
                va="center",
                fontsize=8.5,
                color=_ink(value, scale, colours),
            )
    return image


def _map(scale: Scale) -> Any:
    import matplotlib
    from matplotlib.colors import ListedColormap

    return (
        matplotlib.colormaps[scale.colours]
        if isinstance(scale.colours, str)
        else ListedColormap(list(scale.colours))
    )


def _ink(value: float, scale: Scale, colours: Any) -> str:
    """Black or white, whichever stands out."""
    if not np.isfinite(value):
        return "#333333"
    red, green, blue, _ = colours((value - scale.low) / ((scale.high - scale.low) or 1))
    return "#ffffff" if 0.3 * red + 0.59 * green + 0.11 * blue < 0.5 else "#222222"


def _long(columns: Sequence[str]) -> bool:
    return max([len(c) for c in columns], default=0) > 6
