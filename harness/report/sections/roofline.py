"""Each run against what its shape allows on this machine, and its fixed cost and cost a step."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

from ..frame import DIRECTIONS, PROGRAM, SETTING, measured, shared_settings, telling
from ..section import Colours, Section
from ..table import Column, Entry, Table, known, number, table_of
from ..units import quantity

ORDER = 12
QUESTION = "Fast?"
MAIN = "share"
HEADING = "Roofline"
KEYS = ("label", "backend", *SETTING, "steps", "direction")
RATE = "bytes_per_s."


@dataclass(frozen=True)
class Run:
    """One workload on one backend in one direction: its setting, its metrics, and what bounds it."""

    setting: dict[str, Any]
    metrics: dict[str, float]
    reason: str

    def of(self, metric: str) -> float:
        return self.metrics.get(metric, math.nan)


def sections(rows: pd.DataFrame, colours: Colours) -> Iterator[Section]:
    rows = measured(rows)
    tables = tuple(_table(here, device == "cuda") for device, here in rows.groupby("device", sort=False))
    if tables:
        yield Section(HEADING, tables=tables)


def _table(rows: pd.DataFrame, on_device: bool) -> Table:
    columns: list[Column[Run]] = [
        Column("cell", partial(_setting, "label")),
        Column("backend", partial(_setting, "backend")),
        *(Column(key, partial(_setting, key)) for key in telling(rows, beside=(*PROGRAM, "steps"))),
        Column("T", lambda run: number(known(run.setting["steps"]).text)),
        Column("direction", lambda run: Entry(DIRECTIONS.get(run.setting["direction"], "–"))),
        Column("time", partial(_quantity, "seconds", "s")),
        Column("least time", partial(_quantity, "bound_s", "s")),
        Column("share", partial(_quantity, "share", "%")),
        Column("fixed cost", partial(_quantity, "fixed_s", "s")),
        Column("cost a step", partial(_quantity, "step_s", "s")),
        Column("bound", lambda run: Entry(run.reason.removeprefix("bound by "))),
    ]
    second = (
        "x, weights and output once from or to its memory, with their cotangents in a backward"
        if on_device
        else "T readings of the recurrent weights from the level that holds them"
    )
    note = (
        f"{shared_settings(rows, [key for key in SETTING if key != 'run'])}{_machine(rows, on_device)} Least"
        f" time: the larger of all FLOP at that rate, and {second}. Share: of the least time in the time."
        " Fixed cost and cost a step: the fit t = a + b T."
    )
    return table_of(HEADING, columns, _runs(rows), note)


def _runs(rows: pd.DataFrame) -> Iterator[Run]:
    for key, here in rows.groupby(list(KEYS), sort=False):
        metrics = here.groupby("metric", sort=False)["value"].median().to_dict()
        yield Run(dict(zip(KEYS, key, strict=True)), metrics, here["reason"].iloc[0])


def _machine(rows: pd.DataFrame, on_device: bool) -> str:
    """The ceilings of the rows, in words."""
    median = rows.groupby("metric", sort=False)["value"].median()
    levels = [f"{name.removeprefix(RATE)} {median[name] / 1e9:.0f}" for name in median.index if RATE in name]
    flop = median.get("ceiling_flop_per_s", math.nan) / 1e9
    named = f"{'The device' if on_device else 'One core'}: {flop:.0f} GFLOP/s"
    return f"{named}, GB/s: {', '.join(levels)}." if levels else f"{named}."


def _setting(key: str, run: Run) -> Entry:
    return known(run.setting[key])


def _quantity(metric: str, kind: str, run: Run) -> Entry:
    return number(quantity(run.of(metric), kind))
