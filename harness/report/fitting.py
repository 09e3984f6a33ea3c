"""Which rows of other probes belong to a row of the summary: those of its cell that fit its setting."""

from __future__ import annotations

from typing import Any

import pandas as pd

from .frame import mappings, unique

Records = dict[tuple[str, str], list[dict[str, Any]]]  # rows of the frame by label and run


def records(rows: pd.DataFrame) -> Records:
    """The rows as plain mappings, by label and run, all runs also under ''."""
    # one pass over mappings: a selection of frames for each of hundreds of rows would take seconds
    found: Records = {}
    columns = ["label", "run", "input_size", "hidden_size", "steps", "metric", "value", "status"]
    for record in mappings(rows[columns]):
        for run in dict.fromkeys((record["run"], "")):
            found.setdefault((record["label"], run), []).append(record)
    return found


def fitting(known: Records, case: dict[str, Any], varied: list[str]) -> list[dict[str, Any]]:
    """The records of the case's cell that fit its setting, as `matching` finds them in a frame."""
    rows = known.get((case["label"], case["run"]), [])
    if not rows:
        of_all_runs = known.get((case["label"], ""), [])
        elsewhere = "run" in varied and any(record["run"] for record in of_all_runs)
        rows = [] if elsewhere else of_all_runs
    for key in ("input_size", "hidden_size"):
        here = [record for record in rows if record[key] == case[key]]
        if here or (key in varied and any(record[key] != -1 for record in rows)):
            rows = here
    return rows


def matching(
    rows: pd.DataFrame, case: dict[str, Any], varied: list[str], keys: tuple[str, ...]
) -> pd.DataFrame:
    """The rows of the case's cell that fit its setting, as far as they know that setting.

    Nothing fits where a setting varies in the summary and the rows have other values of it alone: a number of
    another hidden size would be wrong. Where it does not vary the rows may lack it or have another value: a
    training has sizes of its own.
    """
    rows = rows[rows["label"] == case["label"]]
    for key in keys:
        here = rows[key] == case[key]
        if here.any() or (key in varied and len(unique(rows[key]))):
            rows = rows[here]
    return rows
