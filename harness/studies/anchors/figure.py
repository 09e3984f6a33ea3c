"""The figure of the anchors: measured against published, and where in its allowed range each lies."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...report.drawing import drawing
from .anchor import Anchor

TITLE = "Anchors: measured against published, and within what is allowed"
ROW = 0.165  # inches


def draw(sections: dict[str, list[Anchor]]) -> str:
    """SVG. Left: measured against published. Right: a row an anchor, its allowed range scaled to -1 … 1."""
    from matplotlib.figure import Figure

    colour = drawing.colours(list(sections))
    count = sum(map(len, sections.values())) + len(sections)
    height = ROW * count + 1.2
    with drawing.style("anchors"):
        figure = Figure(figsize=(drawing.WIDTH, height))
        plane = figure.add_axes((0.07, 1 - 4.4 / height, 0.35, 3.85 / height))
        rows = figure.add_axes((0.80, 0.55 / height, 0.19, ROW * count / height))
        _plane(plane, sections, colour)
        _rows(rows, sections, colour)
        return drawing.svg(figure, "anchors", TITLE)


def _plane(axes: Any, sections: dict[str, list[Anchor]], colour: dict[str, Any]) -> None:
    lines = {}
    for name, anchors in sections.items():
        shown = [a for a in anchors if a.published is not None]
        axes.plot(
            [a.published for a in shown],
            [a.measured for a in shown],
            "o",
            color=colour[name],
            markersize=4,
            alpha=0.75,
            mew=0,
        )
        lines[name] = drawing.line(colour[name], "", "o")
    axes.axline((0, 0), slope=1, color="#999999", linewidth=0.8, zorder=0)
    for set_scale in (axes.set_xscale, axes.set_yscale):
        set_scale("symlog", linthresh=0.1, linscale=1.5)
    ticks = [-1, -0.1, -0.05, 0, 0.05, 0.1, 1, 10]
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(ticks, [f"{t:g}".replace("-", "−") for t in ticks])
        axis.set_ticks([], minor=True)
    axes.set(
        xlabel="published (linear below 0.1, logarithmic above)",
        ylabel="measured",
        title="Measured against published",
    )
    axes.legend(list(lines.values()), list(lines), loc="upper left")


def _rows(axes: Any, sections: dict[str, list[Anchor]], colour: dict[str, Any]) -> None:
    place, labels = 0, []
    axes.axvspan(-1, 1, color="#e9f3ec", zorder=0)
    axes.axvline(0, color="#bbbbbb", linewidth=0.8)
    for name, anchors in sections.items():
        for anchor in anchors:
            x = float(np.clip(np.nan_to_num(anchor.off, nan=1.6), -1.6, 1.6))
            axes.plot(
                x,
                place,
                "o" if anchor.holds else "X",
                color=colour[name],
                markersize=4 if anchor.holds else 7,
                mew=0,
            )
            labels.append((place, anchor.name))
            place += 1
        place += 1
    axes.set_yticks([p for p, _ in labels], [drawing.shortened(text, 82) for _, text in labels], fontsize=7.5)
    axes.set(xlim=(-1.7, 1.7), ylim=(place - 1, -1), title="Within what is allowed")
    axes.set_xticks([-1, 0, 1], ["lowest", "middle", "highest"])
    axes.grid(axis="y", visible=False)
