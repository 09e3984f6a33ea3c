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
    from rich.measure import Measurement

    console = _console(10_000)  # rich never measures more than a console holds
    for detail in (True, False):
        grid = _grid(table, detail, fold=False)
        if Measurement.get(console, console.options, grid).maximum <= width:
            return _rendered(grid, width)
    grid = _grid(table, detail=False, fold=True)
    least = sum(column.min_width or 0 for column in grid.columns) + 2 * (len(grid.columns) - 1)
    return _rendered(grid, max(width, least))


def _grid(table: Table, detail: bool, fold: bool) -> Grid:
    from rich import box
    from rich.cells import cell_len
    from rich.table import Table as Grid
    from rich.text import Text

    grid = Grid(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="")
    columns = list(zip(*table.rows, strict=True)) or [()] * len(table.header)
    for name, right, entries in zip(table.header, table.numeric(), columns, strict=True):
        longest = max(map(cell_len, [name, *_texts(entries, detail)]))
        grid.add_column(
            Text(name),
            justify="right" if right else "left",
            overflow="fold",
            no_wrap=right or not fold,
            min_width=min(longest, FOLDED) if fold and not right else longest,
        )
    for row in table.rows:
        grid.add_row(*map(Text, _texts(row, detail)))
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
