"""A part of a page: a heading with its figures and tables, and what a probe's section may use."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pandas as pd

from .drawing.panels import Figure
from .table import Table


def anchor_of(heading: str) -> str:
    """A heading's id as GitHub makes it from Markdown, so that one link leads there in both."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@dataclass(frozen=True)
class Finding:
    """A sentence on what was found, and the section that shows what it rests on, on this page or another.

    question: what it answers, such as 'Fast?'; sentences of one question stand together.
    """

    text: str
    anchor: str
    page: str = ""
    question: str = ""


@dataclass(frozen=True)
class Section:
    """A heading, and under it lines, facts (a word and a text), figures, tables, lines to copy, parts.

    Tables of more than `unfolded` rows are folded away on the page. A page of several questions has a tab for
    each `question`, such as 'Fast?'.
    """

    heading: str
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    commands: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    parts: tuple[Section, ...] = ()
    unfolded: int = 60
    question: str = ""

    @property
    def anchor(self) -> str:
        """The section's id in the page, which links lead to."""
        return anchor_of(self.heading)

    @property
    def empty(self) -> bool:
        """Whether it has a heading alone."""
        shown = self.figures or self.commands or self.lines or self.facts or self.parts
        return not shown and not any(table.rows for table in self.tables)


@dataclass(frozen=True)
class Colours:
    """A colour by name, the same in every figure of a page."""

    backends: dict[str, str]
    cells: dict[str, str]


# of the rows of one probe (as `frame.prepare` makes them) what stands on the page
Sections = Callable[[pd.DataFrame, Colours], Iterable[Section] | None]
