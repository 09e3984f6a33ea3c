"""The summary of many cells: a row for each cell, with its backends side by side."""

from __future__ import annotations

from typing import Any

import pandas as pd

from .frame import DIRECTIONS, unique
from .table import Entry


def side_by_side(rows: pd.DataFrame, extra: list[str], tasks: list[str], measured: Any) -> tuple[list, list]:
    """Header and fields of the summary's rows, those of a cell and setting as one; `measured` makes an entry
    of a value.

    Speed-ups are left out: the times stand beside each other.
    """
    backends = [name for name in sorted(unique(rows["backend"])) if (rows["backend"] == name).any()]
    what = {direction: text.replace("+", " + ") for direction, text in DIRECTIONS.items()}
    columns = [
        (f"{direction}_s", what[direction], backend) for direction in DIRECTIONS for backend in backends
    ]
    columns += [
        (task, f"epoch, {task.removeprefix('epoch_s:')}", backend) for task in tasks for backend in backends
    ]
    columns = [column for column in columns if _known(rows, column[0], column[2])]
    header = ["cell", *extra, "parameters", *[f"{backend}, {said}" for _, said, backend in columns]]
    header += ["gradient rate (nats/step)", "gradient"]
    fields = []
    for _, here in rows.groupby(["cell", *extra], sort=False):
        of = {row["backend"]: row for row in here.to_dict("records")}
        first = next(iter(of.values()))
        entries = [
            Entry(first["cell"]),
            *[Entry("–" if first[key] in ("", -1) else str(first[key])) for key in extra],
        ]
        entries += [measured(first, "parameters", "count", first["parameters_status"])]
        entries += [_entry(of.get(backend), name, measured) for name, _, backend in columns]
        entries += [measured(first, "rate", "1", first["rate_status"]), Entry(first["gradient"])]
        fields.append(tuple(entries))
    return header, fields


def _known(rows: pd.DataFrame, name: str, backend: str) -> bool:
    """Whether any cell has a time there."""
    here = rows[rows["backend"] == backend]
    return bool(here[name].notna().any())


def _entry(row: dict[str, Any] | None, name: str, measured: Any) -> Entry:
    if row is None:
        return Entry("–")
    status = f"{name.removesuffix('_s')}_status" if name.endswith("_s") else f"{name}_status"
    return measured(row, name, "s", row[status])
