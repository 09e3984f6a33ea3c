"""Numbers of a probe as a table: a row for each cell and variant, a column for each metric."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import pandas as pd

from ..frame import SETTING, measured, of_metric, telling
from ..table import Column, Entry, Table, known, number, table_of
from ..units import digits, exact, interval

Write = Callable[[float], Entry]
Case = tuple[tuple[object, ...], pd.DataFrame]  # the values of the keys, and the rows


def digits_of(value: float) -> Entry:
    return number("–" if np.isnan(value) else digits(value))


def whole(value: float) -> Entry:
    return number("–" if np.isnan(value) else exact(value))


def numbers(
    heading: str,
    rows: pd.DataFrame,
    metrics: Mapping[str, tuple[str, Write]],
    note: str,
    variant: str = "variant",
) -> Table:
    """The median over seeds of each metric, its range below where seeds differ.

    metrics: by the metric's name the column's title and how a value is written. variant: the title of the
    column of variants.
    """
    rows = measured(rows)
    keys = ["label", *telling(rows, ("backend", *SETTING, "variant"))]
    titles = {"label": "cell", "variant": variant}
    columns: list[Column[Case]] = [
        Column(titles.get(key, key), partial(_setting, i)) for i, key in enumerate(keys)
    ]
    columns += [Column(title, partial(_over_seeds, name, write)) for name, (title, write) in metrics.items()]
    return table_of(heading, columns, rows.groupby(keys, sort=False), note)


def _setting(index: int, case: Case) -> Entry:
    return known(str(case[0][index]).removeprefix("scheme=") if case[0][index] != -1 else -1)


def _over_seeds(metric: str, write: Write, case: Case) -> Entry:
    values = of_metric(case[1], metric)["value"].dropna()
    if not len(values):
        return Entry("–")
    middle = write(float(values.median()))
    if values.nunique() == 1 or not np.isfinite(values).all():
        return middle
    return number(middle.text, interval(values.min(), values.max(), "count", float(values.median())))
