"""Where, over batch and hidden size, the fastest backend is ahead of the best other one, and by how much."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ..drawing.heat import Field, Scale, fields
from ..drawing.panels import Figure, at, cut, parts
from ..frame import DIRECTIONS, estimates, measured, of_metric, telling, unique
from ..units import digits

NAME, HEADING = "speed_map", "Speed against the best other backend"
FURTHEST = 2.0  # log2 of the speed-up at which the colours end: 4 times as slow, 4 times as fast
POINT = ["label", "direction", "batch", "hidden_size"]


def speed_map(rows: pd.DataFrame) -> tuple[Figure, ...]:
    """A panel for each cell and direction: batch down, hidden size across, the speed-up as colour and number.

    Nothing where a run has one backend, one batch or one hidden size.
    """
    rows = of_metric(measured(rows), "steps_per_s")
    # of cells that were matched, hidden sizes are their own
    rows = rows[np.isfinite(rows["value"]) & (rows["value"] > 0) & (rows["match"] == "")]
    if any(len(unique(rows[key])) < 2 for key in ("backend", "batch", "hidden_size")):
        return ()
    steps = rows["steps"].max()
    rows = rows[rows["steps"] == steps]
    extra = telling(rows, ("run", "device", "dtype", "threads"), (*POINT, "input_size"))
    if (rows.groupby("hidden_size")["input_size"].nunique() > 1).any():  # I is not that of H alone
        extra.append("input_size")
    points = [*POINT, *extra]
    rates = estimates(rows, [*points, "backend"], "process").pivot_table(
        index=points, columns="backend", values="median", sort=False
    )
    ahead = rates.idxmax(axis=1).value_counts().idxmax()
    ratios = (rates[ahead] / rates.drop(columns=ahead).max(axis=1)).rename("ratio").dropna().reset_index()
    if any(len(unique(ratios[key])) < 2 for key in ("batch", "hidden_size")):
        return ()
    batches, sizes = (sorted(unique(ratios[key])) for key in ("batch", "hidden_size"))
    ordered = [(d, ratios[ratios["direction"] == d]) for d in (*DIRECTIONS, "")]
    panels, rest = cut(
        [
            _field(f"{label}, {DIRECTIONS.get(d, d)}{at(extra, values)}", here, batches, sizes)
            for d, of_direction in ordered
            for (label, *values), here in parts(of_direction, ["label", *extra])
        ]
    )
    caption = (
        f"Steps per second of {ahead}, the fastest backend at most points, over those of the best other one,"
        f" at T = {steps}. Blue: {ahead} is faster; red: another one is; no colour: both are as fast."
    )

    def draw() -> Any:
        return fields(
            panels,
            [str(batch) for batch in batches],
            [str(size) for size in sizes],
            Scale(-FURTHEST, FURTHEST, "RdBu"),
            across="hidden size H",
            up="batch B",
            abreast=3,
            bar="log₂ of the speed-up",
        )

    return (Figure(NAME, HEADING, caption + rest, draw),)


def _field(title: str, rows: pd.DataFrame, batches: list[int], sizes: list[int]) -> Field:
    values = np.full((len(batches), len(sizes)), np.nan)
    texts = [["" for _ in sizes] for _ in batches]
    for row in rows.to_dict("records"):
        i, k = batches.index(row["batch"]), sizes.index(row["hidden_size"])
        values[i, k] = np.log2(row["ratio"])
        texts[i][k] = digits(row["ratio"])
    return Field(title, values, texts)
