"""The figure of the history study: flagged unchanged series, and steps found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..report.drawing import drawing

TITLE = "Change points: unchanged series that were flagged, and steps that were found"


def draw(rates: Sequence[Any], rivals: Sequence[str], after: Sequence[int]) -> str:
    """SVG. Left: a row a detector, a mark a noise. Right: found against the step in standard deviations of a
    point.
    """
    from matplotlib.figure import Figure

    with drawing.style("history"):
        figure = Figure(figsize=(drawing.WIDTH, 4.2))
        left = figure.add_axes((0.25, 0.14, 0.24, 0.76))
        right = figure.add_axes((0.55, 0.14, 0.17, 0.76))
        _alarms(left, [r for r in rates if not r.cell.step and not r.cell.growing])
        _power(right, rates, rivals, after)
        return drawing.svg(figure, "history", TITLE)


def _alarms(axes: Any, rates: Sequence[Any]) -> None:
    detectors = list(dict.fromkeys(r.cell.detector for r in rates))
    noises = list(dict.fromkeys(r.cell.noise for r in rates))
    colour, lines = drawing.colours(noises), {}
    for rate in rates:
        y = detectors.index(rate.cell.detector) + 0.2 * (noises.index(rate.cell.noise) - 1)
        c = colour[rate.cell.noise]
        axes.hlines(y, 100 * rate.low, 100 * rate.high, color=c, linewidth=1.3)
        axes.plot(100 * rate.hits / rate.cell.series, y, "o", color=c, markersize=4.5)
        lines[rate.cell.noise] = drawing.line(c, "", "o")
    axes.axvline(1, color="#555555", linestyle="--", linewidth=1)
    axes.set_xscale("symlog", linthresh=1, linscale=0.6)
    axes.set_xlim(-0.05, 110)
    ticks = [0, 0.5, 1, 3, 10, 30, 100]
    axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
    axes.set_xticks([], minor=True)
    axes.set_yticks(range(len(detectors)), detectors)
    axes.set_ylim(len(detectors) - 0.5, -0.5)
    axes.set(xlabel="flagged, % of unchanged series", title="False alarms (linear below 1 %)")
    axes.legend(list(lines.values()), list(lines), loc="lower right", frameon=True)


def _power(axes: Any, rates: Sequence[Any], rivals: Sequence[str], after: Sequence[int]) -> None:
    colour, lines = drawing.colours(rivals), {}
    for detector in rivals:
        for a, dash in zip(after, ("-", ":"), strict=True):
            some = [
                r
                for r in rates
                if r.cell.step and r.cell.noise == "iid" and (r.cell.detector, r.cell.after) == (detector, a)
            ]
            some = [r for r in some if r.cell.before == max(one.cell.before for one in some)]
            points = sorted((r.cell.step / r.cell.spread, 100 * r.hits / r.cell.series) for r in some)
            axes.plot(*np.transpose(points), dash, marker="o", color=colour[detector], markersize=4)
            lines[detector] = drawing.line(colour[detector], "-", "o")
            lines[f"within {a} points"] = drawing.line("#555555", dash)
    axes.axhline(90, color="#555555", linestyle="--", linewidth=1)
    axes.set(
        xlabel="step / SD of a process", ylabel="found, %", ylim=(-3, 103), title="Steps after 40 points, iid"
    )
    drawing.legend(axes, {name: lines[name] for name in (*rivals, *(f"within {a} points" for a in after))})
