"""Horizontal lines across the panels of a row; their names at its right never lie on each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import drawing

MOST = 9  # that a panel holds
LONGEST = 30  # characters of a name
SIZE = 8.5  # points
INK = "#6b7177"
LOOKS = {
    "constant": (0, (5, 3)),
    "rival": (0, (1, 1.5)),
    "target": (0, (6, 2, 1, 2)),
    "floor": "-",
}


@dataclass(frozen=True)
class Reference:
    """A level to hold curves against; kind: constant, rival, target or floor."""

    name: str
    value: float
    kind: str


def chosen(references: Sequence[Reference], lowest: bool) -> tuple[list[Reference], int]:
    """Those that a panel holds, and how many rivals were left out: the lowest are kept, or the highest."""
    known = [r for r in references if np.isfinite(r.value)]
    rivals = sorted((r for r in known if r.kind == "rival"), key=lambda r: r.value, reverse=not lowest)
    others = [r for r in known if r.kind != "rival"]
    kept = rivals[: max(0, MOST - len(others))]
    return [*others, *kept], len(rivals) - len(kept)


def room(references: Sequence[Reference]) -> float:
    """Inches that the names need at the right of the last panel."""
    return (
        0.35 + 0.06 * max((min(len(r.name), LONGEST) for r in references), default=0) if references else 0.0
    )


def draw(row: Sequence[Any], references: Sequence[Reference]) -> None:
    """Lines across all panels of a row, names at the right of the last; the y axis must be final."""
    low, high = row[0].get_ylim()
    shown = [r for r in references if low <= r.value <= high]
    for axis in row:
        for r in shown:
            axis.axhline(r.value, color=INK, linestyle=LOOKS[r.kind], linewidth=1.0, zorder=1.5)
    _names(row[-1], shown)


def _names(axis: Any, references: Sequence[Reference]) -> None:
    width, height = (
        side * inches for side, inches in zip(_shares(axis), axis.figure.get_size_inches(), strict=True)
    )
    references = sorted(references, key=lambda r: r.value)
    at = [_height(axis, r.value) for r in references]
    for r, y, moved in zip(references, at, apart(at, 1.35 * SIZE / 72 / height), strict=True):
        style = {
            "xycoords": "axes fraction",
            "textcoords": "axes fraction",
            "va": "center",
            "annotation_clip": False,
        }
        line = {
            "arrowstyle": "-",
            "color": INK,
            "linewidth": 0.6,
            "shrinkA": 0,
            "shrinkB": 0,
            "relpos": (0, 0.5),
        }
        text = drawing.shortened(r.name, LONGEST)
        axis.annotate(
            text, (1, y), (1 + 0.2 / width, moved), fontsize=SIZE, color="#444a50", arrowprops=line, **style
        )


def _shares(axis: Any) -> tuple[float, float]:
    box = axis.get_position()
    return box.width, box.height


def _height(axis: Any, value: float) -> float:
    """Where a value stands on the y axis, 0 at its lower end and 1 at its upper."""
    low, high = axis.get_ylim()
    if axis.get_yscale() == "log":
        low, high, value = np.log(low), np.log(high), np.log(value)
    return float((value - low) / (high - low))


def apart(heights: Sequence[float], gap: float, lowest: float = -0.03, highest: float = 1.03) -> list[float]:
    """Sorted heights, moved so that neighbours are `gap` apart; groups that touch stand around their mean.

    One height after the other makes a group, which takes in the group before as long as both overlap. This
    moves every name as little as needs be (least squares).
    """

    def middle(mean: float, count: int) -> float:
        """The middle of a group, moved off its mean where it would leave the panel."""
        half = gap * (count - 1) / 2
        return max(min(mean, highest - half), lowest + half)

    groups: list[tuple[float, int]] = []  # mean, number of members
    for height in heights:
        groups.append((height, 1))
        while (
            len(groups) > 1
            and middle(*groups[-1]) - middle(*groups[-2]) < gap * (groups[-1][1] + groups[-2][1]) / 2
        ):
            (b, m), (a, n) = groups.pop(), groups.pop()
            groups.append(((a * n + b * m) / (n + m), n + m))
    return [middle(mean, n) + gap * (k - (n - 1) / 2) for mean, n in groups for k in range(n)]
