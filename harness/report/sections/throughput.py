"""How fast each cell is on each backend: a figure over sequence lengths, and every timing as a table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from ..frame import DIRECTIONS, PROGRAM, SETTING, estimates, measured, shared_settings, telling, unique
from ..measured import Measured
from ..section import Colours, Section
from ..table import Column, Entry, Table, known, number, table_of
from ..units import exact
from ._predicted import predicted
from ._speed_map import speed_map
from ._throughput_figure import HEADING, figures

ORDER = 10
QUESTION = "Fast?"
MAIN = "steps_per_s"
KEYS = ("label", "backend", *SETTING, "steps", "direction")
SHORT = 16  # rows of a table that stays unfolded: further figures follow below it
TITLES = {
    "seconds": "time",
    "steps_per_s": "steps/s",
    "sequences_per_s": "sequences/s",
    "flop_per_s": "GFLOP/s",
    "useful_tokens_per_s": "useful tokens/s",
    "useful_tokens": "useful tokens",
    "padded_tokens": "padded tokens",
    "ratio_to_native": "speed-up",
}  # with the range over processes
KINDS = {
    "seconds": "s",
    "flop_per_s": "flop/s",
    "ratio_to_native": "x",
    "first_call_s": "s",
    "peak_bytes": "B",
}


@dataclass(frozen=True)
class Timing:
    """One workload on one backend in one direction: its settings by name, what ran, metrics by name."""

    setting: dict[str, Any]
    implementation: str
    metrics: dict[str, Measured]

    def of(self, metric: str) -> Measured:
        return self.metrics.get(metric, Measured())


def sections(rows: pd.DataFrame, colours: Colours) -> Iterator[Section]:
    on_paper = predicted(rows)
    rows = measured(rows)
    if len(rows):
        drawn = (*figures(rows, colours.backends), *speed_map(rows))
        yield Section(HEADING, drawn, (_table(rows),), unfolded=SHORT)
    if on_paper:
        yield Section(on_paper.heading, tables=(on_paper,), unfolded=SHORT)


def _table(rows: pd.DataFrame) -> Table:
    """Every workload, backend and direction that was timed."""
    columns: list[Column[Timing]] = [
        Column("cell", partial(_setting, "label")),
        Column("backend", partial(_setting, "backend")),
        Column("ran", lambda timing: Entry(timing.implementation)),
        *(Column(key, partial(_setting, key)) for key in telling(rows, beside=(*PROGRAM, "steps"))),
        Column("T", lambda timing: number(known(timing.setting["steps"]).text)),
        Column("direction", _direction),
        *(Column(title, partial(_estimate, metric)) for metric, title in TITLES.items()),
        Column("first call", partial(_alone, "first_call_s")),
        Column("peak memory", partial(_alone, "peak_bytes")),
        Column("error", partial(_error, "check_error")),
        Column("tolerance", partial(_error, "check_tolerance")),
        Column("processes", lambda timing: number(exact(timing.of("seconds").count or np.nan))),
    ]
    note = (
        f"{shared_settings(rows, [key for key in SETTING if key != 'run'])}Each value is the"
        " median of the medians of the processes. Below it is the range over them, of at least 3. The column"
        " 'ran' names the library that really did the work. An error is relative, against the float64"
        " reference."
    )
    return table_of(HEADING, columns, _timings(rows), note)


def _timings(rows: pd.DataFrame) -> list[Timing]:
    ran = rows.groupby(list(KEYS), sort=False)["implementation"].agg(lambda names: ", ".join(unique(names)))
    found: dict[tuple[Any, ...], dict[str, Measured]] = {}
    for row in estimates(rows, KEYS, "process").to_dict("records"):
        one = Measured(row["median"], row["low"], row["high"], count=int(row["units"]))
        found.setdefault(tuple(row[key] for key in KEYS), {})[row["metric"]] = one
    return [Timing(dict(zip(KEYS, key, strict=True)), ran.get(key, ""), one) for key, one in found.items()]


def _setting(key: str, timing: Timing) -> Entry:
    return known(timing.setting[key])


def _direction(timing: Timing) -> Entry:
    return Entry(DIRECTIONS.get(timing.setting["direction"], timing.setting["direction"]))


def _estimate(metric: str, timing: Timing) -> Entry:
    return timing.of(metric).entry(KINDS.get(metric, "count"))


def _alone(metric: str, timing: Timing) -> Entry:
    """Of what is measured once, in the first pass: there is no range."""
    return Measured(timing.of(metric).value).entry(KINDS[metric])


def _error(metric: str, timing: Timing) -> Entry:
    error = timing.of(metric)
    return number(f"{error.value:.1e}" if error.known else "–")
