"""Tables on a terminal, by rich: the summary, the trainings, and the tables of users' probes."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from ..screen import one_line, shortened
from .frame import left_out, prepare, unique, without_result
from .overview import summary_table
from .sections import Shown, foreign
from .standings import trained_tasks
from .strange import shown
from .table import Entry, Table, flat
from .trainings import table

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as Grid

SPARED = ("backend", "seeds", "learning rate", "epochs")  # columns of a training that the page alone has
GAP = 2  # characters between columns
FOLDED = 18  # characters, below which no column of text is folded over several lines
SHORT = {"parameters": "params", "gradient rate (nats/step)": "grad/step", "speed-up to native": "×native"}
BRIEF = (
    ("forward+backward", "fwd+bwd"),
    (", forward + backward", " both"),
    (", forward", " fwd"),
    (" (T = ", " T="),
    (" (largest T", " max T"),
    (")", ""),
)


def text(frame: pd.DataFrame, width: int = 120, probes: Iterable[Shown] = ()) -> str:
    """All that a terminal shows of results.

    A summary that would name cells and backends only is left out where there are trainings or other tables.
    """
    with shown("a run"):
        return "\n\n".join(_blocks(frame, width, probes)).replace("\u00a0", " ")


def _blocks(frame: pd.DataFrame, width: int, probes: Iterable[Shown]) -> list[str]:
    ready = prepare(frame)
    tasks = trained_tasks(ready)
    blocks = [_titled(_brief(table(ready, task)), width) for task in tasks]
    for section in foreign(ready, probes):
        blocks += [
            _titled(Table(section.heading, one.header, one.rows), width) for one in section.tables if one.rows
        ]
    if not blocks or len(summary_table(frame).header) > 2:
        blocks.insert(0, summary_text(frame, width))
    return [*blocks, *left_out(ready), *_why_not(ready)]


def _why_not(ready: pd.DataFrame) -> Iterator[str]:
    """The line on cases without a result, with the reason where all of them have the same."""
    if without := without_result(ready):
        reasons = unique(ready.loc[ready["status"] != "ok", "reason"])
        yield f"{without}; {shortened(one_line(reasons[0])) if len(reasons) == 1 else 'the page says why'}"


def summary_text(frame: pd.DataFrame, width: int = 120, most: int | None = None) -> str:
    """The summary for a terminal, with short names of its columns; of `most` rows, where it has more."""
    summary = summary_table(frame)
    if not summary.rows:
        return "no results"
    header = [SHORT.get(name, name) for name in summary.header]
    for long, brief in BRIEF:
        header = [name.replace(long, brief) for name in header]
    rows = summary.rows[:most]
    shown = plain(Table(summary.heading, tuple(header), rows), width)
    if not (left := len(summary.rows) - len(rows)):
        return shown
    return f"{shown}\n{left:,} rows more; harness.report.summary.summary(frame) returns all of them"


def plain(table: Table, width: int = 120) -> str:
    """The table in aligned columns without any colour, so that it reads the same in a pipe.

    Intervals are given up first to stay within width, then columns of text are folded. Nothing is cut off: a
    table that does not fit even so is wider.
    """
    for detail in (True, False):
        columns = _columns(table, detail)
        if sum(widths := [_longest(column) for column in columns]) + GAP * (len(columns) - 1) <= width:
            return _aligned(columns, widths, table.numeric())
    grid = _folded(table)
    least = sum(column.min_width or 0 for column in grid.columns) + GAP * (len(grid.columns) - 1)
    return _rendered(grid, max(width, least))


def _columns(table: Table, detail: bool) -> list[tuple[str, ...]]:
    """The texts of each column, its name first."""
    rows = [_texts(row, detail) for row in table.rows]
    return [*zip(table.header, *rows, strict=True)]


def _longest(column: Sequence[str]) -> int:
    from rich.cells import cell_len

    return max(map(cell_len, column))


def _aligned(columns: Sequence[Sequence[str]], widths: Sequence[int], right: Sequence[bool]) -> str:
    """The lines of columns that need no folding, as rich lays them out, which takes a millisecond a row."""
    from rich.cells import cell_len

    padded = []
    for column, width, numeric in zip(columns, widths, right, strict=True):
        spaces = [" " * (width - cell_len(text)) for text in column]
        both = zip(column, spaces, strict=True)
        padded.append([space + text if numeric else text + space for text, space in both])
    header, *rows = zip(*padded, strict=True)
    rule = ("\u2500" * width for width in widths)
    lines = [(" " * GAP).join(header), ("\u2500" * GAP).join(rule), *map((" " * GAP).join, rows)]
    return "\n".join(line.rstrip() for line in lines)


def _folded(table: Table) -> Grid:
    """The table without its intervals, whose columns of text rich may fold."""
    from rich import box
    from rich.table import Table as Grid
    from rich.text import Text

    grid = Grid(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="")
    for column, right in zip(_columns(table, detail=False), table.numeric(), strict=True):
        grid.add_column(
            Text(column[0]),
            justify="right" if right else "left",
            overflow="fold",
            no_wrap=right,
            min_width=_longest(column) if right else min(_longest(column), FOLDED),
        )
    for row in table.rows:
        grid.add_row(*map(Text, _texts(row, detail=False)))
    return grid


def _texts(entries: Sequence[Entry], detail: bool) -> list[str]:
    return [one_line(flat(entry) if detail else entry.text) for entry in entries]


def _console(width: int) -> Console:
    from rich.console import Console

    return Console(file=io.StringIO(), width=width, color_system=None, force_terminal=False, emoji=False)


def _rendered(grid: Grid, width: int) -> str:
    console = _console(width)
    with console.capture() as capture:
        console.print(grid)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def _titled(table: Table, width: int) -> str:
    return f"{table.heading}\n{plain(table, width)}"


def _brief(table: Table) -> Table:
    """The trainings without what the page alone has; with the backends where a model was run on several."""
    at = [table.header.index(name) for name in ("model", "backend") if name in table.header]
    told = {tuple(row[k].text for k in at) for row in table.rows}
    several = len(told) > len({model for model, *_ in told})
    return _without(table, [name for name in SPARED if name != "backend" or not several])


def _without(table: Table, names: Sequence[str]) -> Table:
    kept = [i for i, name in enumerate(table.header) if name not in names]
    rows = tuple(tuple(row[i] for i in kept) for row in table.rows)
    return Table(table.heading, tuple(table.header[i] for i in kept), rows, table.note)
