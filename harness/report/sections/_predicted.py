"""What backends predict of their time on CUDA, beside what was measured where something was."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd

from ..frame import DIRECTIONS, PROGRAM, measured, of_metric, telling
from ..table import Column, Entry, Table, known, number, table_of
from ..units import digits, quantity

TITLE, METRIC = "Predicted on paper", "predicted_s"
Row = dict[str, object]


def predicted(rows: pd.DataFrame) -> Table | None:
    """A row for each case with a prediction; None where there is none."""
    found = of_metric(rows, METRIC).drop_duplicates(["run", "case"])
    if not len(found):
        return None
    seconds = of_metric(measured(rows), "seconds").groupby(["run", "case"])["value"].median()
    columns: list[Column[Row]] = [
        Column("cell", partial(_setting, "label")),
        Column("backend", partial(_setting, "backend")),
        *(Column(key, partial(_setting, key)) for key in telling(found, beside=(*PROGRAM, "steps"))),
        Column("T", lambda row: number(known(row["steps"]).text)),
        Column("direction", lambda row: Entry(DIRECTIONS.get(str(row["direction"]), str(row["direction"])))),
        Column("predicted", lambda row: _time(row["value"])),
        Column("measured", lambda row: _time(row["seconds"])),
        Column("measured / predicted", lambda row: _ratio(row["seconds"], row["value"])),
        Column("by", partial(_setting, "reason")),
    ]
    timed = [seconds.get((run, case), np.nan) for run, case in zip(found["run"], found["case"], strict=True)]
    note = "By the model of docs/gpu.md, from what the compiler says of the kernels. A dash: not known."
    return table_of(TITLE, columns, found.assign(seconds=timed).to_dict("records"), note)


def _setting(key: str, row: Row) -> Entry:
    return known(row[key])


def _time(value: object) -> Entry:
    return number(quantity(float(value), "s") if value == value else "–")  # type: ignore[arg-type]  # NaN


def _ratio(seconds: object, of: object) -> Entry:
    ratio = float(seconds) / float(of)  # type: ignore[arg-type]
    return number(digits(ratio) if np.isfinite(ratio) else "–")
