"""Tables on the terminal: one look for all commands; piped, plain text of any width without padding."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TextIO, cast

from ..screen import clean, no_commands, one_line, screen

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

PIPED = 100_000  # columns, so that nothing is cut or wrapped where no terminal sets a width


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[str] = ()) -> None:
    """A row a line under bold names; `numbers` are columns to set right. A terminal cuts the last column."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in header:
        table.add_column(name, justify="right" if name in numbers else "left", no_wrap=name != header[-1])
    for row in rows:
        table.add_row(*(Text(one_line(entry), no_wrap=True, overflow="ellipsis") for entry in row))
    _print(table)


def print_facts(facts: Iterable[tuple[str, Sequence[str]]], width: int) -> None:
    """Names in a bold column of so many characters, their lines beside them, wrapped to the terminal."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column(width=width)
    table.add_column(overflow="fold")
    for name, lines in facts:
        for n, line in enumerate(lines):
            table.add_row(Text("" if n else name, style="bold"), Text(clean(line)))
    _print(table)


def _print(table: Table | RenderableType) -> None:
    from rich.console import Console

    out = screen(sys.stdout).styled  # the table has colours of its own
    console = Console(file=cast(TextIO, out), highlight=False)
    if not console.is_terminal:
        console.width = PIPED
    with console.capture() as capture:
        console.print(table)
    out.write(no_commands("".join(f"{line.rstrip()}\n" for line in capture.get().split("\n")[:-1])))
    out.flush()
