"""The summary as a table: a row for each cell and backend, or many cells with their backends side by side."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pandas as pd

from ..gradients.rate import MARGIN
from .drawing.panels import MANY
from .frame import DIRECTIONS, FEWEST, NAMES, PROGRAM, SETTING, setting_text, telling, unique
from .measured import Measured
from .summary import Row, rows_of
from .table import Column, Entry, Table, known, table_of

MOST_TASKS = 4  # whose epochs have a column each
OTHER_BATCHES = "For other batches run: cellbench run 'probes=[throughput]' 'workload.batch=[1,32]'."
Beside = dict[str, Row]  # the rows of one cell and setting, by backend
Value = Callable[[Row], Measured]


def summary_table(frame: pd.DataFrame) -> Table:
    """The summary in human units; a case that is not ok shows its status word in place of a number."""
    return table_of_rows(rows_of(frame))


def table_of_rows(rows: list[Row]) -> Table:
    """The same of the summary's rows, for whoever has them."""
    if not rows:
        return Table("Summary", ("cell", "backend"), ())
    settings = pd.DataFrame([{"label": row.cell, "backend": row.backend, **row.setting} for row in rows])
    varied = telling(settings, beside=PROGRAM)
    steps = unique(row.steps for row in rows)
    tasks = list(rows[0].epochs)
    shown = tasks if len(tasks) <= MOST_TASKS else []
    # one direction of one backend fills a column: many cells stay readable with a row each, few with several
    if len({row.cell for row in rows}) > MANY and len(unique(row.backend for row in rows)) > 1:
        at = f"T {steps[0]}" if len(steps) == 1 else "the largest T"
        columns = _side_by_side(rows, varied, shown)
        return table_of("Summary", columns, _by_cell(rows, varied), _note(rows, varied, len(tasks), at))
    at = f" (T = {steps[0]})" if len(steps) == 1 else " (largest T)" if steps else ""
    return table_of("Summary", _columns(varied, shown, at), rows, _note(rows, varied, len(tasks)))


def _columns(varied: list[str], tasks: list[str], at: str) -> list[Column[Row]]:
    columns: list[Column[Row]] = [
        Column("cell", lambda row: Entry(row.cell)),
        Column("backend", lambda row: known(row.backend)),
        *(Column(NAMES.get(key, key), partial(_setting, key)) for key in varied),
        Column("parameters", lambda row: row.parameters.entry("count")),
    ]
    for direction, name in DIRECTIONS.items():
        columns.append(Column(f"{name}{at}", partial(_entry, partial(_time, direction), "s")))
        columns.append(Column("speed-up to native", partial(_entry, partial(_speedup, direction), "x")))
    columns += [Column(f"epoch, {task}", partial(_entry, partial(_epoch, task), "s")) for task in tasks]
    columns.append(Column("gradient rate (nats/step)", lambda row: row.rate.entry("1")))
    columns.append(Column("gradient", lambda row: Entry(row.gradient)))
    return columns


def _entry(value: Value, kind: str, row: Row) -> Entry:
    return value(row).entry(kind)


def _setting(key: str, row: Row) -> Entry:
    return known(row.setting[key])


def _time(direction: str, row: Row) -> Measured:
    return row.times[direction]


def _speedup(direction: str, row: Row) -> Measured:
    return row.speedups[direction]


def _epoch(task: str, row: Row) -> Measured:
    return row.epochs[task]


def _by_cell(rows: list[Row], varied: list[str]) -> list[Beside]:
    found: dict[tuple[object, ...], Beside] = {}
    for row in rows:
        found.setdefault((row.cell, *(row.setting[key] for key in varied)), {})[row.backend] = row
    return list(found.values())


def _side_by_side(rows: list[Row], varied: list[str], tasks: list[str]) -> list[Column[Beside]]:
    """Columns of one row a cell. Speed-ups are left out: the times stand beside each other."""
    alike = {
        column.title: Column(column.title, partial(_first, column)) for column in _columns(varied, [], "")
    }
    values: dict[str, Value] = {
        name.replace("+", " + "): partial(_time, direction) for direction, name in DIRECTIONS.items()
    }
    values |= {f"epoch, {task}": partial(_epoch, task) for task in tasks}
    times = [
        Column(f"{backend}, {title}", partial(_of_backend, backend, value))
        for title, value in values.items()
        for backend in sorted(unique(row.backend for row in rows))
        if any(value(row).known for row in rows if row.backend == backend)
    ]
    before = [alike[NAMES.get(title, title)] for title in ("cell", *varied, "parameters")]
    return [*before, *times, *(alike[title] for title in ("gradient rate (nats/step)", "gradient"))]


def _first(column: Column[Row], beside: Beside) -> Entry:
    """Of what does not depend on the backend."""
    return column.entry(next(iter(beside.values())))


def _of_backend(backend: str, value: Value, beside: Beside) -> Entry:
    return value(beside[backend]).entry("s") if backend in beside else Entry("–")


def _note(rows: list[Row], varied: list[str], tasks: int, at: str = "") -> str:
    """What the numbers are, and the settings that all rows share.

    at: the T of the times, where no title has it.
    """
    shared = {key: unique(row.setting[key] for row in rows) for key in SETTING if key not in (*varied, "run")}
    single = {key: values[0] for key, values in shared.items() if len(values) == 1}
    places = ", ".join(filter(None, (at, setting_text(single, list(single)))))
    notes = [f"The times are those at {places}."] if single else []
    times = _on_times(rows)
    if times and "batch" in single:  # a page cannot tell what was not timed
        notes.append(OTHER_BATCHES)
    notes += times
    if tasks > MOST_TASKS:
        notes.append(f"The trainings on {tasks} tasks have a section each.")
    elif tasks:
        notes.append("An epoch is the time of one, the median over seeds, at the sizes under Training.")
    if any(row.rate.known for row in rows):
        notes.append(
            "The gradient rate is the slope of log |dL/d(state)| by steps back, in nats: −1 nat a step"
            " divides the gradient by e at each step. It is the median over seeds; its interval holds the 95"
            f" % interval of every seed. The gradient vanishes where the interval is below −{MARGIN},"
            f" explodes where it is above +{MARGIN}, and is stable otherwise."
        )
    return " ".join(notes)


def _on_times(rows: list[Row]) -> list[str]:
    notes = []
    processes = max(seconds.count for row in rows for seconds in row.times.values())
    if processes > 0:
        many = f"median of the medians of {processes} processes" if processes > 1 else "median of one process"
        notes.append(f"A time is that of one run over the whole sequence, the {many}.")
        enough = processes >= FEWEST
        notes.append("Below it is the range over processes." if enough else "A range needs 3 processes.")
    if any(speedup.known for row in rows for speedup in row.speedups.values()):
        notes.append(
            "The speed-up is the time of native (PyTorch's own layer) over that of this backend in the same"
            " process. Above 1×, this backend is faster."
        )
    return notes
