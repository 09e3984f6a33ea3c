"""A table as data: entries that know how they read, and its forms as Markdown and as plain text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """One field of a table: what it says, an interval or remark below it, and its kind ('text', 'number' or
    'status').
    """

    text: str
    detail: str = ""
    kind: str = "text"


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
        """By column: is it right-aligned?"""
        return [any(row[i].kind == "number" for row in self.rows) for i in range(len(self.header))]


def number(text: str, detail: str = "") -> Entry:
    return Entry(text, detail, "number")


def markdown(table: Table) -> str:
    """A GitHub table; an interval stands behind its value in brackets."""
    lines = [
        [escaped(name) for name in table.header],
        ["---:" if right else "---" for right in table.numeric()],
    ]
    lines += [[escaped(_flat(entry)) for entry in row] for row in table.rows]
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


def plain(table: Table, width: int = 120) -> str:
    """The table in columns for a terminal: intervals, then long names, are given up to stay within width."""
    for detail, longest in ((True, 200), (False, 200), (False, 32), (False, 20)):
        if len({row[0].text for row in table.rows}) > len(
            set(_cut([row[0].text for row in table.rows], longest))
        ):
            break  # rather too wide than two cells under one name
        grid = [list(table.header)]
        grid += [
            _cut([_flat(entry) if detail else entry.text for entry in row], longest) for row in table.rows
        ]
        widths = [max(map(len, column)) for column in zip(*grid, strict=True)]
        if sum(widths) + 2 * (len(widths) - 1) <= width:
            break
    right = table.numeric()
    lines = [_aligned(line, widths, right) for line in grid]
    return "\n".join([lines[0], "-" * min(width, max(map(len, lines))), *lines[1:]])


def _flat(entry: Entry) -> str:
    return f"{entry.text} ({entry.detail})" if entry.detail else entry.text


def _cut(fields: Sequence[str], longest: int) -> list[str]:
    return [
        text if len(text) <= longest else text[: longest // 2 - 1] + "…" + text[-longest // 2 :]
        for text in fields
    ]


def _aligned(fields: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    pairs = zip(fields, widths, right, strict=True)
    return "  ".join(
        text.rjust(width) if is_right else text.ljust(width) for text, width, is_right in pairs
    ).rstrip()
