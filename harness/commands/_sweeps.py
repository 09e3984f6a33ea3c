"""A sweep as a person reads it: a line a job, and what to type for what is missing."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence

from ..runs.live import state_of, unknown
from ..screen import one_line
from ..store.sweeps import AGAIN, Record, Sweep
from ._table import print_table

COLUMNS = ("job", "state", "cases", "run", "host", "scheduler", "cores", "memory", "what was swept")
LEFT_OUT = ("scheduler", "memory")  # columns that stand only where a job has something in them
NUMBERS = ("job", "cores", "memory")
GIB = 1 << 30


def print_sweep(sweep: Sweep) -> None:
    """The jobs, and a line for each that is neither done nor under way."""
    records = sweep.records()
    header, rows = jobs(sweep, records)
    print_table(header, rows, NUMBERS)
    for line in notes(sweep, records):
        print(line)
    print(f"{state_of(sweep) or 'no job has begun'}; {commands(sweep, records)}")


def jobs(sweep: Sweep, records: Sequence[Record]) -> tuple[list[str], list[list[str]]]:
    """The header and a row a job."""
    rows = [_row(sweep, number, record) for number, record in enumerate(records)]
    shown = [n for n, name in enumerate(COLUMNS) if name not in LEFT_OUT or any(row[n] for row in rows)]
    return [COLUMNS[n] for n in shown], [[row[n] for n in shown] for row in rows]


def _row(sweep: Sweep, number: int, record: Record) -> Sequence[str]:
    memory = "" if record.memory_bytes is None else f"{record.memory_bytes / GIB:.1f} GiB"
    cases = ", ".join(f"{count} {status}" for status, count in record.cases.items())
    entries = (record.run, record.host, record.scheduler, record.cores)
    where = ["" if entry is None else str(entry) for entry in entries]
    return (str(number), record.state, cases, *where, memory, " ".join(sweep.swept(number)))


def notes(sweep: Sweep, records: Sequence[Record]) -> Iterator[str]:
    """A line for each job that failed, stopped, was disturbed or lost: why, or its last line, and its log.

    One more for all that cannot be told.
    """
    if words := unknown(records):
        yield words
    for number, record in enumerate(records):
        if record.state not in AGAIN:
            continue
        was = "was " if record.state in ("lost", "disturbed") else ""
        words = f"job {number} {was}{record.state}"
        if record.reason:
            words += f": {one_line(record.reason)}"
        log, line = sweep.last_line(record)
        if log is not None:
            words += f"; its log {log} ends with: {one_line(line)!r}" if line else f"; its log is {log}"
        yield words


def commands(sweep: Sweep, records: Sequence[Record]) -> str:
    """What to type: to go on, and for the page."""
    folder = shlex.quote(str(sweep.folder))
    states = Counter(record.state for record in records)
    if states.keys() & {"queued", "running"}:
        again = f"cellbench sweeps {folder} looks again"
        return again if sweep.searched else f"{again}, cellbench run resume={folder} does what is left"
    if states.keys() - {"done"} and not sweep.searched:
        return f"go on with: cellbench run resume={folder}"
    return f"page: cellbench report {folder}"
