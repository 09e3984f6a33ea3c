"""What a report says on a terminal: the summary, and of each task that was trained the table of models and
rivals.
"""

from __future__ import annotations

import pandas as pd

from .frame import prepare
from .standings import trained_tasks
from .summary import summary_table, summary_text
from .table import Table, plain
from .trainings import table

SPARED = ("backend", "seeds", "learning rate", "epochs")  # columns that the page alone has


def text(frame: pd.DataFrame, width: int = 120) -> str:
    """All of it; a summary that would name cells and backends only is left out where there are trainings."""
    ready = prepare(frame)
    tasks = trained_tasks(ready)
    said = [] if tasks and len(summary_table(frame).header) <= 2 else [summary_text(frame, width)]
    return "\n\n".join([*said, *(_task(table(ready, task), width) for task in tasks)]).replace("\u00a0", " ")


def _task(whole: Table, width: int) -> str:
    kept = [i for i, name in enumerate(whole.header) if name not in SPARED]
    rows = tuple(tuple(row[i] for i in kept) for row in whole.rows)
    return (
        f"{whole.heading}\n{plain(Table(whole.heading, tuple(whole.header[i] for i in kept), rows), width)}"
    )
