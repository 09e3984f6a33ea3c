"""What the figures share: a finished figure, how many panels at most, titles, numbers in captions."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from ..frame import setting_text
from ..strange import shown
from . import drawing

MOST_PANELS = 64
MANY = len(drawing.COLOURS)  # more cells than that are not told apart by colour
POINTS = 300  # of a curve, at most


@dataclass(frozen=True)
class Figure:
    """A figure: its file name without .svg, heading, caption, and `draw`, which returns a matplotlib figure.

    It is drawn when its SVG is first asked for: a terminal shows the tables beside it and needs no drawing.
    """

    name: str
    heading: str
    caption: str
    draw: Callable[[], Any]

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][\w-]*", self.name):
            raise ValueError(
                f"figure {self.name!r} names a file; give letters, digits, `_` and `-`, such as my_probe"
            )

    @cached_property
    def svg(self) -> str:
        with shown(f"figure {self.name!r}"), drawing.style(self.name):
            return drawing.svg(self.draw(), self.name, self.heading)


def finish(name: str, heading: str, caption: str, draw: Callable[[], Any]) -> Figure:
    """The figure, drawn already: for whoever must know at once whether drawing fails."""
    figure = Figure(name, heading, caption, draw)
    _ = figure.svg
    return figure


def parts(rows: pd.DataFrame, keys: Sequence[str]) -> list[tuple[tuple, pd.DataFrame]]:
    """The rows by key values, in order of appearance."""
    return list(rows.groupby(list(keys), sort=False))


def chunks(items: list, size: int) -> list[list]:
    return [items[i : i + size] for i in range(0, len(items), size)]


def cut(panels: list) -> tuple[list, str]:
    """The first panels, and what to say of the rest."""
    over = len(panels) > MOST_PANELS
    return panels[:MOST_PANELS], (
        f" The first {MOST_PANELS} of {len(panels)} panels; the tables have all." if over else ""
    )


def titled(axes: Any, text: str, right: str = "") -> None:
    """A title over a panel, in at most two lines of its width; `right` stands grey at its right end."""
    longest = max(int(axes.get_position().width * axes.figure.get_figwidth() / 0.08) - len(right), 12)
    at = max(text[:longest].rfind(sign) for sign in ":_ ") + 1 or longest
    lines = (text,) if len(text) <= longest else (text[:at].rstrip(), drawing.shortened(text[at:], longest))
    axes.set_title("\n".join(lines), loc="left", pad=5)
    if right:
        axes.set_title(right, loc="right", pad=5, color="#6b7177", fontsize=8.5)


def at(keys: Sequence[str], values: Sequence[Any]) -> str:
    text = setting_text(dict(zip(keys, values, strict=True)), keys)
    return f" · {text}" if text else ""


def counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 'es' if noun.endswith('s') else 's'}"
