"""The page of trends: a figure for each benchmark, a panel a machine, the table of changes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ...report.drawing import drawing
from ...report.drawing.panels import Figure, counted, finish, titled
from ...report.html import PAGE, as_html
from ...report.page import MARKDOWN, as_markdown
from ...report.section import Section
from ...store import pages
from .trend import SHORT, Trend, file_name, phrase, table

OUTPUT = Path("results/reports/history")
COLOUR, NEW = drawing.COLOURS[0], drawing.COLOURS[3]
MOST_FIGURES = 200  # of a page: each takes a tenth of a second
MOST_LABELS = 24  # of commits under a panel
CAPTION = (
    "Time over that of native in the same process, run by run: higher is slower. Bar: interval over"
    " processes; hollow: a dirty tree or no commit, not used; line: the level between change points; dashed:"
    " the first point of a new level."
)


def write(trends: Sequence[Trend], folder: Path, lines: Sequence[str] = ()) -> Path:
    """Writes index.html, report.md and trend-*.svg; returns the path of index.html.

    Raises ResultsError where it cannot, and for a folder that holds somebody's own files of these names.
    """
    pages.check(folder, (MARKDOWN, PAGE))
    figures, lines, content = _contents(trends, lines)
    title = "cellbench: history"
    both = {MARKDOWN: as_markdown(title, lines, content), PAGE: as_html(title, lines, content)}
    pages.replace(folder, "history", {f"{one.name}.svg": one.svg for one in figures} | both)
    return folder / PAGE


def html(trends: Sequence[Trend], site: Sequence[tuple[str, str]]) -> str:
    """The same page alone, as one of a site."""
    _, lines, content = _contents(trends, [])
    return as_html("Trends", lines, content, site=site)


def _contents(trends: Sequence[Trend], lines: Sequence[str]) -> tuple[list[Figure], list[str], list[Section]]:
    benchmarks = [list(group) for _, group in groupby(trends, key=lambda t: t.benchmark)]
    # those that changed first, where not all are drawn; each in its place
    drawn = sorted(benchmarks, key=lambda group: not any(t.changes for t in group))[:MOST_FIGURES]
    figures = [figure(group) for group in benchmarks if group in drawn]
    if len(drawn) < len(benchmarks):
        lines = [*lines, f"{len(drawn)} of {len(benchmarks):,} benchmarks have a figure; the table has all."]
    summary = table(trends)
    content = [
        Section(summary.heading, tables=(summary,)),
        *(Section(one.heading, figures=(one,)) for one in figures),
    ]
    return figures, list(lines), content


def figure(trends: Sequence[Trend]) -> Figure:
    """The figure of one benchmark's trends."""
    name = trends[0].benchmark
    return finish(file_name(name), name, CAPTION, lambda: _draw(trends))


def _draw(trends: Sequence[Trend]) -> Any:
    height = 1.9
    shape, axes = drawing.grid(len(trends), 1, height, 0.0, left=0.85, between=1.45, widest=9.5)
    for axis, trend in zip(axes[:, 0], trends, strict=True):
        _panel(axis, trend)
        titled(axis, f"machine {trend.machine}", counted(len(trend.points), "run"))
    shape.set_figheight(shape.get_figheight() + 0.75)  # commits stand upright
    shape.subplots_adjust(bottom=1.35 / shape.get_figheight(), top=1 - 0.45 / shape.get_figheight())
    return shape


def _panel(axis: Any, trend: Trend) -> None:
    """The points of one machine, the level between change points, and the first point of each new level."""
    count = len(trend.points)
    used = [i for i, p in enumerate(trend.points) if p.of_a_commit]
    _draw_points(axis, trend, used)
    edges = [0, *(c.index for c in trend.changes), len(used)]
    for a, b in pairwise(edges):
        if b > a:
            level = float(np.median([trend.points[i].ratio for i in used[a:b]]))
            axis.hlines(level, used[a] - 0.4, used[b - 1] + 0.4, color="#555555", linewidth=1.2)
    for change in trend.changes:
        at = used[change.index] - 0.5
        axis.axvline(at, color=NEW, linestyle="--", linewidth=1.2)
        # the label of a late change stands on the left, where there is room
        _label(axis, phrase(change, trend), at, left=at > 0.7 * count)
    axis.margins(y=0.2)
    axis.set_xlim(-0.7, max(count - 0.3, 0.7))
    axis.set_ylabel("time / native's")
    shown = np.arange(count)[:: max(1, -(-count // MOST_LABELS))]
    commits = [trend.points[i].commit[:SHORT] or "no commit" for i in shown]
    axis.set_xticks(shown, commits, rotation=90, fontsize=7.5)


def _draw_points(axis: Any, trend: Trend, used: Sequence[int]) -> None:
    """Each point with its interval; those that are not used are hollow."""
    x, low, high = range(len(trend.points)), [p.low for p in trend.points], [p.high for p in trend.points]
    axis.vlines(x, low, high, color=COLOUR, linewidth=1, alpha=0.5)
    for places, fill in ((used, COLOUR), (sorted(set(x) - set(used)), "white")):
        ratios = [trend.points[i].ratio for i in places]
        axis.plot(places, ratios, "o", color=COLOUR, markerfacecolor=fill, markersize=4.5)


def _label(axis: Any, text: str, at: float, left: bool) -> None:
    axis.annotate(
        text,
        (at, 0.98),
        (-4 if left else 4, 0),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        color=NEW,
        fontsize=8,
        va="top",
        ha="right" if left else "left",
    )
