"""Trainings: all tasks in a table, a figure and a table for each, verdicts, identified systems."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pandas as pd

from .. import trainings
from ..section import Colours, Section
from ..shapes import TARGETS, grouped
from ..standings import trained_tasks
from ._identification import HEADING as IDENTIFIED
from ._identification import identification
from ._training_figure import figures

ORDER = 30
QUESTION = "Learns?"
MAIN = "best_test_loss"


def sections(rows: pd.DataFrame, colours: Colours) -> Iterator[Section]:
    tasks = trained_tasks(rows)
    overview = trainings.overview(rows)
    yield Section(overview.heading, tables=(overview,) if overview.rows else ())
    files, shapes = _files(tasks), grouped(rows, tasks)
    for shape, some in shapes.items():
        ones = [_of_task(rows, task, files[task], colours) for task in some]
        if len(shapes) > 1:  # a heading each, so that one of many tasks is found
            yield Section(f"Tasks, {shape}", lines=(TARGETS[shape],), parts=tuple(ones))
        else:
            yield from ones
    yield Section(IDENTIFIED, identification(rows, colours.cells))
    verdicts = trainings.evidence(rows)
    yield Section(verdicts.heading, tables=(verdicts,))


def _of_task(rows: pd.DataFrame, task: str, name: str, colours: Colours) -> Section:
    table = trainings.table(rows, task)
    return Section(table.heading, figures(rows, task, name, colours), (table,))


def _files(tasks: list[str]) -> dict[str, str]:
    """By task the file's name of its figure; two tasks never share one."""
    names: dict[str, str] = {}
    for task in tasks:
        plain = re.sub(r"[^A-Za-z0-9]+", "-", task).strip("-")[:60] or "task"
        names[task] = plain if plain not in names.values() else f"{plain}-{len(names)}"
    return {task: f"training-{name}" for task, name in names.items()}
