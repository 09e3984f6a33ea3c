"""The section of a probe that brings none: a plain table of its metrics."""

from __future__ import annotations

from functools import partial

import pandas as pd

from ..frame import SETTING, telling, unique
from ..section import Section
from ..table import Column, Entry, Table, known, number, table_of
from ..units import interval, quantity

WHERE = (*SETTING, "steps", "direction", "task", "variant")  # what tells one measurement from another
SCALED = ("s", "B")  # units of which a value names the one that suits it, such as µs
Case = tuple[dict[str, object], pd.DataFrame]  # the settings by name, and the rows


def plain_section(probe: str, rows: pd.DataFrame) -> Section:
    """A row for each case without its seed, a column for each metric: the median and the range."""
    return Section(f"Probe {probe}", tables=(_table(probe, rows),))


def _table(probe: str, rows: pd.DataFrame) -> Table:
    rows = _last(rows[(rows["status"] == "ok") & (rows["metric"] != "")])
    keys = ["label", *telling(rows, ("backend", *WHERE))]
    cases: list[Case] = [
        (dict(zip(keys, values, strict=True)), case) for values, case in rows.groupby(keys, sort=False)
    ]
    columns: list[Column[Case]] = [
        Column("cell" if key == "label" else key, partial(_setting, key)) for key in keys
    ]
    for metric, unit in rows[["metric", "unit"]].drop_duplicates("metric").itertuples(index=False):
        title = metric if unit in ("", "1", *SCALED) else f"{metric} ({unit})"
        columns.append(Column(title, partial(_value, metric, unit if unit in SCALED else "1")))
    by_lag = unique(rows.loc[rows["lag"].notna(), "metric"])
    note = "Median over seeds, processes and samples; below it their range."
    if by_lag:
        note += f" At the last lag or step: {', '.join(by_lag)}."
    return table_of(f"Probe {probe}", columns, cases, note)


def _last(rows: pd.DataFrame) -> pd.DataFrame:
    """Of what has a value at each lag the last one alone."""
    one = ["label", "backend", *WHERE, "seed", "process", "sample", "metric"]
    at_the_end = rows["lag"].isna() | (rows["lag"] == rows.groupby(one)["lag"].transform("max"))
    return rows[at_the_end]


def _setting(key: str, case: Case) -> Entry:
    return known(case[0][key])


def _value(metric: str, kind: str, case: Case) -> Entry:
    values = case[1].loc[case[1]["metric"] == metric, "value"]
    if not len(values):
        return Entry("–")
    # a NaN would vanish from the median, as if the value had been measured everywhere
    if values.isna().any():
        return number("NaN" if values.isna().all() else f"NaN in {values.isna().sum()} of {len(values)}")
    middle, low, high = float(values.median()), float(values.min()), float(values.max())
    return number(quantity(middle, kind), interval(low, high, kind, middle) if high > low else "")
