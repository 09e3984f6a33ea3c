"""What the figures share: a finished figure, how many panels at most, titles, numbers in captions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ..frame import setting_text
from . import drawing

MOST_PANELS = 64
MANY = len(drawing.COLOURS)  # more cells than that are not told apart by colour
POINTS = 300  # of a curve, at most


@dataclass(frozen=True)
class Figure:
    """A drawn figure: its file name without .svg, heading, caption, and the SVG itself."""

    name: str
    heading: str
    caption: str
    svg: str


def finish(name: str, heading: str, caption: str, draw: Callable[[], Any]) -> Figure:
    with drawing.style(name):
        return Figure(name, heading, caption, drawing.svg(draw(), name, heading))


def parts(part: pd.DataFrame, keys: Sequence[str]) -> list[tuple[tuple, pd.DataFrame]]:
    """The rows by key values, in order of appearance."""
    return list(part.groupby(list(keys), sort=False))


def chunks(items: list, size: int) -> list[list]:
    return [items[i : i + size] for i in range(0, len(items), size)]


def cut(panels: list) -> tuple[list, str]:
    """The first panels, and what to say of the rest."""
    over = len(panels) > MOST_PANELS
    return panels[:MOST_PANELS], (
        f" The first {MOST_PANELS} of {len(panels)} panels; the tables have all." if over else ""
    )


def titled(axes: Any, text: str, right: str = "") -> None:
    """A title over a panel, in at most two lines of its width; a few characters more stand grey at its right."""
    longest = max(int(axes.get_position().width * axes.figure.get_figwidth() / 0.08) - len(right), 12)
    at = max(text[:longest].rfind(":"), text[:longest].rfind("_")) + 1 or longest
    lines = (text,) if len(text) <= longest else (text[:at], drawing.shortened(text[at:], longest))
    axes.set_title("\n".join(lines), loc="left", pad=5)
    if right:
        axes.set_title(right, loc="right", pad=5, color="#6b7177", fontsize=8.5)


def at(keys: Sequence[str], values: Sequence[Any]) -> str:
    text = setting_text(dict(zip(keys, values, strict=True)), keys)
    return f" · {text}" if text else ""


def number(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 'es' if noun.endswith('s') else 's'}"
