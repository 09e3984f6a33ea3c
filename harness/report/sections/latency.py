"""How long one step takes where steps come one by one: a row for each cell, backend and size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from ..frame import NAMES, PROGRAM, SETTING, estimates, measured, of_metric, shared_settings, telling, unique
from ..measured import Measured
from ..section import Colours, Section
from ..table import Column, Entry, Table, known, number, table_of
from ..units import exact

ORDER = 14
QUESTION = "Fast?"
MAIN = "step_median_s"
HEADING = "Latency of a step"
TIMES = {"step_median_s": "median", "step_p99_s": "99th percentile"}


@dataclass(frozen=True)
class Stream:
    """One cell on one backend at one size: its settings by name, what ran, metrics by name."""

    setting: dict[str, Any]
    implementation: str
    metrics: dict[str, Measured]

    def of(self, metric: str) -> Measured:
        return self.metrics.get(metric, Measured())


def sections(rows: pd.DataFrame, colours: Colours) -> Iterator[Section]:
    rows = measured(rows)
    if len(of_metric(rows, *TIMES)):
        yield Section(HEADING, tables=(_table(rows),))


def _table(rows: pd.DataFrame) -> Table:
    columns: list[Column[Stream]] = [
        Column("cell", partial(_setting, "label")),
        Column("backend", partial(_setting, "backend")),
        Column("ran", lambda stream: Entry(stream.implementation)),
        *(Column(NAMES.get(key, key), partial(_setting, key)) for key in telling(rows, beside=PROGRAM)),
        *(Column(title, partial(_time, metric)) for metric, title in TIMES.items()),
        Column("error", partial(_error, "check_error")),
        Column("tolerance", partial(_error, "check_tolerance")),
        Column("processes", lambda stream: number(exact(stream.of(MAIN).count or np.nan))),
    ]
    note = (
        f"{shared_settings(rows, [key for key in SETTING if key != 'run'])}A time is that of one step,"
        " from a NumPy array to a NumPy array. Each process has the median and the 99th percentile of its"
        " steps. The table has the median over processes, and below it their range, of at least 3. The column"
        " 'ran' names the library that really did the work. An error is relative, against the float64"
        " reference."
    )
    return table_of(HEADING, columns, _streams(rows), note)


def _streams(rows: pd.DataFrame) -> list[Stream]:
    keys = ["label", "backend", *SETTING]
    ran = rows.groupby(keys, sort=False)["implementation"].agg(lambda names: ", ".join(unique(names)))
    by_place: dict[tuple[Any, ...], dict[str, Measured]] = {}
    for row in estimates(rows, keys, "process").to_dict("records"):
        one = Measured(row["median"], row["low"], row["high"], count=int(row["units"]))
        by_place.setdefault(tuple(row[key] for key in keys), {})[row["metric"]] = one
    return [Stream(dict(zip(keys, place, strict=True)), ran[place], one) for place, one in by_place.items()]


def _setting(key: str, stream: Stream) -> Entry:
    return known(stream.setting[key])


def _time(metric: str, stream: Stream) -> Entry:
    return stream.of(metric).entry("s")


def _error(metric: str, stream: Stream) -> Entry:
    error = stream.of(metric)
    return number(f"{error.value:.1e}" if error.known else "–")
