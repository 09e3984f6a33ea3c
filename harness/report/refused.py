"""The cases without a result, with their reasons."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from ..store import ERRORS
from .drawing.drawing import shortened
from .frame import DIRECTIONS, NAMES, PROGRAM, SETTING, telling, unique, without_result
from .section import Finding, anchor_of
from .table import Entry, Table, known, number

HEADING = "Cases without a result"
LONGEST = 160  # characters of a reason in a sentence
HEADER = ("probe", "cell", "backend", "where", "status", "reason", "cases")


def refused(frame: pd.DataFrame) -> Table:
    """Every case without a result, errors first; cases with one reason share a row, whatever their cell."""
    rows = frame[frame["status"] != "ok"]
    whys = [_of_any_cell(reason, cell) for reason, cell in zip(rows["reason"], rows["cell"], strict=True)]
    rows = rows.assign(rank=(~rows["status"].isin(ERRORS)).astype(int), why=whys)
    rows = rows.sort_values("rank", kind="stable")
    keys = ("variant", "task", "direction", "steps", *SETTING, "seed")
    varied = telling(rows, keys, beside=("probe", *PROGRAM))
    entries = []
    for (status, why), here in rows.groupby(["status", "why"], sort=False):
        names = [known(", ".join(unique(here[key]))) for key in ("probe", "label", "backend")]
        where = "; ".join(text for text in (_spread(here, key) for key in varied) if text)
        reason = why if len(unique(here["reason"])) > 1 else here["reason"].iloc[0]
        count = number(str(len(unique(here["case"])) or len(here)))
        entries.append((*names, Entry(where), Entry(status, kind="status"), Entry(reason), count))
    return Table(HEADING, HEADER, tuple(entries)).without_empty()


def failed(ready: pd.DataFrame) -> Iterator[Finding]:
    """How many cases have no result, and the reason that most of them have."""
    if not (without := without_result(ready)):
        return
    table = refused(ready)
    told = [dict(zip(table.header, (entry.text for entry in row), strict=True)) for row in table.rows]
    why = max(told, key=lambda row: int(row["cases"])).get("reason", "").rstrip(".")
    of = "The reason" if len(told) == 1 else f"There are {len(told)} reasons; most frequent"
    yield Finding(f"{without}.{f' {of}: {shortened(why, LONGEST)}.' if why else ''}", anchor_of(HEADING))


def _of_any_cell(reason: str, cell: str) -> str:
    """The reason without the cell's name, where it is quoted: of another cell it may read the same."""
    return reason.replace(f"cell {cell!r}", "the cell") if cell else reason


def _spread(here: pd.DataFrame, key: str) -> str:
    """'T 64, 256' or 'forward': the values of one setting among these cases."""
    values = unique(here[key])
    name = {**NAMES, "direction": "", "seed": "seed"}.get(key, "")
    return (name and f"{name} ") + ", ".join(DIRECTIONS.get(v, str(v)) for v in values) if values else ""
