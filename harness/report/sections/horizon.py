"""Which delays a cell learns to bridge."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..drawing.heat import Field, Scale, fields
from ..drawing.panels import Figure, finish, number
from ..frame import of_metric, of_probe, unique, varying


def horizon(frame: pd.DataFrame) -> Figure | None:
    """A panel for each initialisation: cells down, T across, the share of the seeds that learned it."""
    part = of_metric(of_probe(frame, "horizon"), "solved")
    if not len(part):
        return None
    extra = varying(part, ("run", "backend", "device", "dtype", "hidden_size"))
    part = part.assign(row=[", ".join(map(str, values)) for values in part[["label", *extra]].to_numpy()])
    rows, lengths = unique(part["row"]), sorted(unique(part["steps"]))
    panels = [_field(v, part[part["variant"] == v], rows, lengths) for v in unique(part["variant"])]
    caption = (
        "Delayed recall: how many seeds learn to name the cue of the first of T steps (at most 1 % wrong),"
        f" by cell and initialisation; {number(part['seed'].nunique(), 'seed')}. An empty field: the cell"
        " cannot have that initialisation."
    )
    columns = [str(n) for n in lengths]
    return finish(
        "horizon",
        "Recall horizon",
        caption,
        lambda: fields(panels, rows, columns, Scale(0, 1), across="T", abreast=4),
    )


def _field(variant: str, part: pd.DataFrame, rows: list[str], lengths: list[int]) -> Field:
    values = np.full((len(rows), len(lengths)), np.nan)
    texts = [["" for _ in lengths] for _ in rows]
    for (row, steps), here in part.groupby(["row", "steps"]):
        i, k = rows.index(row), lengths.index(steps)
        values[i, k] = here["value"].mean()
        texts[i][k] = f"{here['value'].sum():.0f}/{len(here)}"
    return Field(variant.removeprefix("scheme="), values, texts)
