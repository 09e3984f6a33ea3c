"""Rows in aligned columns for a terminal or a pipe, by rich: never cut, wrapped or coloured."""

from __future__ import annotations

import io
from collections.abc import Collection, Sequence

MOST = 10_000  # columns that rich may use, so that it leaves every line as it is


def grid(header: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> list[str]:
    """The lines of a table, its header first; the columns `right` are aligned to the right.

    A text of several lines makes its row as many lines high.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for k, name in enumerate(header):
        table.add_column(Text(name), justify="right" if k in right else "left", no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row))
    printed = io.StringIO()
    Console(file=printed, width=MOST, color_system=None).print(table)
    return [line.rstrip() for line in printed.getvalue().splitlines()]
