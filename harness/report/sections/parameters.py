"""Parameters, memory and operations of each cell, by closed form."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from ..frame import measured, shared_settings, telling, unique
from ..section import Colours, Section
from ..table import Column, Entry, Table, known, number, table_of
from ..units import exact, quantity

ORDER = 20
QUESTION = "Costs?"
MAIN = "parameters"
HEADING = "Parameters and operations"
ARRAY = "parameters."  # before an array's name in its metric
MOST_ARRAYS = 6  # that have a column each
Case = tuple[tuple[Any, ...], dict[str, float]]  # the values of the keys, and the metrics


def sections(rows: pd.DataFrame, colours: Colours) -> Iterator[Section]:
    rows = measured(rows)
    if len(rows):
        yield Section(HEADING, tables=(_table(rows),))


def _table(rows: pd.DataFrame) -> Table:
    """Counts by array and operations per cell and size."""
    keys = ["label", *telling(rows, ("run", "input_size", "match", "hidden_size"))]
    arrays = [name for name in unique(rows["metric"]) if name.startswith(ARRAY)]
    apart = len(arrays) <= MOST_ARRAYS
    columns: list[Column[Case]] = [
        Column("cell" if key == "label" else key, partial(_key, i)) for i, key in enumerate(keys)
    ]
    columns.append(Column("parameters", partial(_count, "parameters")))
    columns += [Column(name.removeprefix(ARRAY), partial(_count, name)) for name in arrays if apart]
    columns += [
        Column("memory", lambda case: number(quantity(case[1].get("parameter_bytes", np.nan), "B"))),
        Column("state", partial(_count, "state_size")),
        Column("forward FLOP", partial(_count, "forward_flop")),
        Column("backward FLOP", partial(_count, "backward_flop")),
        Column("affine in the state", _affine),
    ]
    columns += [] if apart else [Column("arrays", _arrays)]
    cases = (
        (values, here.groupby("metric", sort=False)["value"].median().to_dict())
        for values, here in rows.groupby(keys, sort=False)
    )
    note = (
        f"{shared_settings(rows, ('input_size', 'hidden_size', 'match'))}FLOPs are those of a step of one"
        " sequence: 2 a multiply-add of a product, 1 an elementwise operation. The state is how many numbers"
        " a sequence carries from step to step. A cell is affine in the state where the next state is a"
        " matrix times the state, plus what the input adds."
    )
    return table_of(HEADING, columns, cases, note)


def _key(index: int, case: Case) -> Entry:
    return known(case[0][index])


def _count(metric: str, case: Case) -> Entry:
    return number(exact(case[1].get(metric, np.nan)))


def _affine(case: Case) -> Entry:
    return Entry({0.0: "no", 1.0: "yes"}.get(case[1].get("affine", np.nan), "–"))


def _arrays(case: Case) -> Entry:
    """'weight_ih 1,536, bias_ih 96', to be broken after a comma alone."""
    counts = {name: value for name, value in case[1].items() if name.startswith(ARRAY)}
    return Entry(
        ", ".join(f"{name.removeprefix(ARRAY)}\u00a0{exact(value)}" for name, value in counts.items())
    )
