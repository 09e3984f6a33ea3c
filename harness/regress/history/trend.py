"""A trend: the points of a benchmark on a machine in order of time, and their change points."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...report.table import Entry, Table, number
from ...report.units import quantity
from .change import BEFORE, RATE, Change, changes
from .points import Point, in_order

SHORT = 10  # digits of a commit that are shown
NOTE = (
    "The ratio is the program's time over native's, both timed inside the same process: higher is slower."
    " Its interval is a bootstrap's over processes. Change points are calibrated by permutation to"
    f" {100 * RATE:g} % false alarms a series, and need two points in a row beyond the change. Points of a"
    " dirty tree, of no commit, or imported (seconds instead of a ratio) are shown and not used for them."
    " Runs stand in the order in which they"
    " were made; a machine key with a ~ is of a run that stored none itself."
)


@dataclass(frozen=True)
class Trend:
    """`changes` count among `used`, the points that stand for a commit."""

    benchmark: str
    machine: str
    points: tuple[Point, ...]
    changes: tuple[Change, ...]

    @property
    def used(self) -> tuple[Point, ...]:
        return tuple(p for p in self.points if p.of_a_commit)

    @property
    def name(self) -> str:
        return f"{self.benchmark} on {self.machine}"


def trends(points: Sequence[Point]) -> list[Trend]:
    """One for each benchmark and machine key; the same points give the same changes."""
    lines = []
    for (benchmark, key), series in in_order(points).items():
        ratios = np.array([p.ratio for p in series if p.of_a_commit])
        lines.append(Trend(benchmark, key, tuple(series), tuple(changes(ratios, np.random.default_rng(0)))))
    return lines


def phrase(change: Change, trend: Trend) -> str:
    """'+5.1 % at 1a2b3c4d5e (slower)'."""
    word = "slower" if change.effect > 0 else "faster"
    return f"{100 * change.effect:+.1f} % at {trend.used[change.index].commit[:SHORT]} ({word})"


def table(trends: Sequence[Trend]) -> Table:
    """A row for each trend."""
    header = ("benchmark", "machine", "points", "latest ratio", "latest commit", "change points")
    return Table("Change points", header, tuple(map(_row, trends)), NOTE)


def _row(trend: Trend) -> tuple[Entry, ...]:
    last, left_out = trend.points[-1], len(trend.points) - len(trend.used)
    points = number(str(len(trend.points)), f"{left_out} not used" if left_out else "")
    ends = last.ratio, last.low, last.high
    middle, low, high = (quantity(v, "s") if last.is_time else f"{v:.3f}" for v in ends)
    ratio = number(middle, f"{low} … {high}")
    return (
        Entry(trend.benchmark),
        Entry(trend.machine),
        points,
        ratio,
        Entry(_commit(last)),
        Entry(_changes(trend)),
    )


def _commit(point: Point) -> str:
    if not point.commit:
        return "no commit"
    return point.commit[:SHORT] + (" (dirty)" if point.dirty else "")


def _changes(trend: Trend) -> str:
    if trend.changes:
        return "; ".join(phrase(change, trend) for change in trend.changes)
    if trend.points[-1].is_time:
        return "not judged: nothing was timed beside it"
    return "none" if len(trend.used) >= BEFORE + 2 else f"too few points ({len(trend.used)} of {BEFORE + 2})"


def file_name(benchmark: str) -> str:
    """A name that every file system takes, another one for each benchmark."""
    plain = "".join(c if c.isascii() and c.isalnum() else "-" for c in benchmark.lower())
    return f"trend-{plain[:80].strip('-')}-{hashlib.sha256(benchmark.encode()).hexdigest()[:6]}"
