"""The figure of the history study: flagged unchanged series, and steps found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..report.drawing import drawing

TITLE = "Change points: unchanged series that were flagged, and steps that were found"


def draw(rates: Sequence[Any], rivals: Sequence[str], after: Sequence[int]) -> str:
    """SVG. Left: a row a detector, a mark a noise. Right: steps found against their size.

    The size is in standard deviations of a process.
    """
    from matplotlib.figure import Figure

    with drawing.style("history"):
        figure = Figure(figsize=(drawing.WIDTH, 4.2))
        left = figure.add_axes((0.25, 0.14, 0.24, 0.76))
        right = figure.add_axes((0.55, 0.14, 0.17, 0.76))
        _alarms(left, [r for r in rates if not r.setting.step and not r.setting.growing])
        _power(right, rates, rivals, after)
        return drawing.svg(figure, "history", TITLE)


def _alarms(axes: Any, rates: Sequence[Any]) -> None:
    detectors = list(dict.fromkeys(r.setting.detector for r in rates))
    noises = list(dict.fromkeys(r.setting.noise for r in rates))
    colour, lines = drawing.colours(noises), {}
    for rate in rates:
        y = detectors.index(rate.setting.detector) + 0.2 * (noises.index(rate.setting.noise) - 1)
        c = colour[rate.setting.noise]
        axes.hlines(y, 100 * rate.low, 100 * rate.high, color=c, linewidth=1.3)
        axes.plot(100 * rate.hits / rate.setting.series, y, "o", color=c, markersize=4.5)
        lines[rate.setting.noise] = drawing.line(c, "", "o")
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
            iid = [r for r in rates if r.setting.step and r.setting.noise == "iid"]
            some = [r for r in iid if (r.setting.detector, r.setting.after) == (detector, a)]
            longest = max(r.setting.before for r in some)
            some = [r for r in some if r.setting.before == longest]
            points = sorted(
                (r.setting.step / r.setting.spread, 100 * r.hits / r.setting.series) for r in some
            )
            axes.plot(*np.transpose(points), dash, marker="o", color=colour[detector], markersize=4)
            lines[detector] = drawing.line(colour[detector], "-", "o")
            lines[f"within {a} points"] = drawing.line("#555555", dash)
    axes.axhline(90, color="#555555", linestyle="--", linewidth=1)
    axes.set(
        xlabel="step / SD of a process", ylabel="found, %", ylim=(-3, 103), title="Steps after 40 points, iid"
    )
    drawing.legend(axes, {name: lines[name] for name in (*rivals, *(f"within {a} points" for a in after))})
