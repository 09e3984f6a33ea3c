"""A part of a page: a heading with its figures and tables, and what a probe's section may use."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pandas as pd

from .drawing.panels import Figure
from .table import Table


@dataclass(frozen=True)
class Section:
    """A heading, and under it lines, facts (a word and a text), figures, tables, lines to copy, parts.

    Tables of more than `unfolded` rows are folded away on the page.
    """

    heading: str
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    commands: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    parts: tuple[Section, ...] = ()
    unfolded: int = 60

    @property
    def anchor(self) -> str:
        """The section's id in the page, which links lead to."""
        return self.heading.lower().replace(" ", "-")

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
