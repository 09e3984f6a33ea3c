"""Tables of a page for other programs: as CSV, Markdown, LaTeX or JSON."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Sequence

from .section import Section, anchor_of
from .table import Entry, Table, flat, markdown

TEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
TEX |= {sign: f"\\{sign}" for sign in "&%$#_{}"}
TEX |= {
    "\u00d7": r"$\times$",
    "\u2212": "$-$",
    "\u00b5": r"$\mu$",
    "\u221e": r"$\infty$",
    "\u2026": r"\ldots{}",
}


def named(content: Iterable[Section]) -> Iterator[tuple[str, Table]]:
    """Every table of some sections with a name of its own, made of its heading."""
    seen: dict[str, int] = {}
    for heading, table in _tables(content):
        name = re.sub(r"[^a-z0-9-]", "", anchor_of(table.heading or heading)) or "table"
        seen[name] = seen.get(name, 0) + 1
        yield name + (f"-{seen[name]}" if seen[name] > 1 else ""), table


def _tables(content: Iterable[Section]) -> Iterator[tuple[str, Table]]:
    for section in content:
        yield from ((section.heading, table) for table in section.tables if table.rows)
        yield from _tables(section.parts)


def as_csv(table: Table) -> str:
    """Numbers in SI units, without their intervals; texts as the page has them."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_distinct(table.header))
    writer.writerows([_value(entry) for entry in row] for row in table.rows)
    return out.getvalue()


def as_json(table: Table) -> str:
    """A list of rows by column; a number in SI units, beside what the page shows of it."""
    rows = [
        {
            name: {"value": _value(entry), "text": flat(entry)} if entry.kind == "number" else entry.text
            for name, entry in zip(_distinct(table.header), row, strict=True)
        }
        for row in table.rows
    ]
    return json.dumps(rows, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def as_latex(table: Table) -> str:
    """A tabular in the style of booktabs, with the texts of the page."""
    columns = "".join("r" if right else "l" for right in table.numeric())
    lines = [_row(table.header), r"\midrule", *(_row(map(flat, row)) for row in table.rows)]
    body = "\n".join(
        [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", *lines, r"\bottomrule", r"\end{tabular}"]
    )
    note = " ".join(table.note.split())
    return (f"% {note}\n" if note else "") + body + "\n"


def as_markdown(table: Table) -> str:
    """GitHub's Markdown, with the texts of the page."""
    return markdown(table) + "\n"


FORMS = {"csv": as_csv, "json": as_json, "md": as_markdown, "tex": as_latex}  # by the ending of a file


def _distinct(header: Sequence[str]) -> list[str]:
    """The names of columns, numbered where two are of one name."""
    return [
        name if (count := header[: at + 1].count(name)) == 1 else f"{name} {count}"
        for at, name in enumerate(header)
    ]


def _value(entry: Entry) -> float | int | str | None:
    """What a program reads of an entry: a number where it is one, and null where nothing is known."""
    if entry.kind != "number":
        return entry.text
    if entry.order is None or entry.order != entry.order or abs(entry.order) == float("inf"):
        return None if entry.text in ("", "\u2013") else entry.text
    value = float(f"{entry.order:.12g}")
    return int(value) if value.is_integer() else value


def _row(texts: Iterable[str]) -> str:
    return " & ".join("".join(TEX.get(sign, sign) for sign in text) for text in texts) + r" \\"
