"""A table as data: entries that know how they read, columns that know their entries, and its Markdown."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from . import units

T = TypeVar("T")


@dataclass(frozen=True)
class Entry:
    """One field of a table: its text, and an interval or a remark that stands below it.

    kind is 'text', 'number' (to the right) or 'status' (of a case without a result). link: where the
    text leads to, such as '#training-adding'.
    """

    text: str
    detail: str = ""
    kind: str = "text"
    link: str = ""

    @property
    def order(self) -> float | None:
        """What a page sorts by; None where that is the text."""
        return units.order(self.text)


@dataclass(frozen=True)
class Table:
    """Header and rows of equal length; `note` says what an interval is and what all rows share."""

    heading: str
    header: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]
    note: str = ""

    def __post_init__(self) -> None:
        if any(len(row) != len(self.header) for row in self.rows):
            raise ValueError(
                f"table {self.heading!r}: every row must have the {len(self.header)} fields of its header"
            )

    def without_empty(self) -> Table:
        """The same without columns in which no row says anything."""
        kept = [i for i in range(len(self.header)) if any(row[i].text not in ("", "–") for row in self.rows)]
        rows = tuple(tuple(row[i] for i in kept) for row in self.rows)
        return Table(self.heading, tuple(self.header[i] for i in kept), rows, self.note)

    def numeric(self) -> list[bool]:
        """Whether each column is of numbers, which stand at the right."""
        return [any(row[i].kind == "number" for row in self.rows) for i in range(len(self.header))]


@dataclass(frozen=True)
class Column(Generic[T]):
    """The title of a column, and its entry in a row that is about a T."""

    title: str
    entry: Callable[[T], Entry]


def table_of(heading: str, columns: Sequence[Column[T]], rows: Iterable[T], note: str = "") -> Table:
    """A row for each T. A column in which no row says anything is left out."""
    entries = tuple(tuple(column.entry(row) for column in columns) for row in rows)
    return Table(heading, tuple(column.title for column in columns), entries, note).without_empty()


def number(text: str, detail: str = "") -> Entry:
    """A number's entry, which stands at the right of its column; detail is what a page shows below it."""
    return Entry(text, detail, "number")


def known(value: Any) -> Entry:
    """A setting as text; '–' for a null, which `frame.prepare` writes as '' or -1."""
    return Entry("–" if value in ("", -1) else str(value))


def markdown(table: Table) -> str:
    """The table as GitHub's Markdown; an interval stands behind its value in brackets."""
    lines = [
        [escaped(name) for name in table.header],
        ["---:" if right else "---" for right in table.numeric()],
    ]
    lines += [[escaped(flat(entry)) for entry in row] for row in table.rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def escaped(text: str) -> str:
    """The text with everything that Markdown or HTML would read as markup made plain."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"([\\`*\[\]|$~])", r"\\\1", text)
    text = re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", text)
    return re.sub(
        r"(https?|ftp):(?=//)|\bwww\.(?=\S)",
        lambda found: found[0][:-1] + ("&#58;" if found[1] else "&#46;"),
        text,
    )


def flat(entry: Entry) -> str:
    return f"{entry.text} ({entry.detail})" if entry.detail else entry.text
