"""The half of `cellbench export` that is about tables: of a page of runs, of a sweep's jobs, of a history."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from ..report.exports import FORMS, named
from ..report.section import Section
from ..report.table import Entry, Table, number
from ._arguments import with_sweeps

JOBS = "Jobs"


def do(arguments: argparse.Namespace) -> int:
    """Writes a file a table; returns the exit code. Raises ResultsError where there is none."""
    from ..screen import counted, last
    from ..store import pages

    content, folder = _of_history(arguments) if arguments.history else _of_runs(arguments)
    tables, ending = dict(named(content)), arguments.form
    texts = {f"{name}.{ending}": FORMS[ending](table) for name, table in tables.items()}
    pages.replace(folder, ending, texts)
    for name, table in tables.items():
        print(f"{name}.{ending}: {counted(len(table.rows), 'row')}")
    last(f"tables: {folder}")
    return 0


def _of_runs(arguments: argparse.Namespace) -> tuple[list[Section], Path]:
    """The sections of the runs' page, and of the jobs of each sweep that is named; the folder to write to."""
    from .. import store
    from ..report.page import content
    from .report import chosen, page_of

    runs = chosen(arguments)
    frame, manifests = store.load(runs), [store.read_manifest(run) for run in runs]
    folder = arguments.output or page_of(manifests)
    sections = content(frame, manifests)
    if not dict(named(sections)):
        raise store.ResultsError(f"{', '.join(map(str, runs))} has no table: nothing was measured")
    return [*sections, *_jobs(arguments)], folder


def _jobs(arguments: argparse.Namespace) -> Iterator[Section]:
    from ..store import sweeps
    from ._sweeps import NUMBERS, jobs

    for folder in filter(sweeps.is_sweep, with_sweeps(arguments.runs, arguments.results)):
        sweep = sweeps.read(folder)
        header, rows = jobs(sweep, sweep.records())
        entries = (
            tuple(
                number(text) if name in NUMBERS else Entry(text)
                for name, text in zip(header, row, strict=True)
            )
            for row in rows
        )
        yield Section(JOBS, tables=(Table(JOBS, tuple(header), tuple(entries), f"Sweep {folder.name}."),))


def _of_history(arguments: argparse.Namespace) -> tuple[list[Section], Path]:
    """The section of every trend's change points; the folder to write to."""
    from ..regress.history import file
    from ..regress.history.trend import table, trends
    from .history import PAGE, some

    if arguments.runs:
        raise ValueError(f"--history has no runs; leave out {str(arguments.runs[0])!r}")
    points = table(some(trends(file.read(arguments.history)), arguments.history))
    return [Section(points.heading, tables=(points,))], arguments.output or PAGE
