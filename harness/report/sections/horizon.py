"""Which delays a cell learns to bridge."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from ..drawing.heat import Field, Scale, fields
from ..drawing.panels import Figure, counted
from ..frame import measured, of_metric, telling, unique
from ..section import Colours, Section
from ..table import Table
from ._numbers import digits_of, numbers, whole

ORDER = 60
QUESTION = "Remembers?"
MAIN = "error_rate"
HEADING = "Recall horizon"


def sections(rows: pd.DataFrame, colours: Colours) -> Iterator[Section]:
    yield Section(HEADING, _figures(rows), (_table(rows),))


def _figures(rows: pd.DataFrame) -> tuple[Figure, ...]:
    """A panel for each initialisation: cells down, T across, the share of the seeds that learned it."""
    rows = of_metric(measured(rows), "solved")
    if not len(rows):
        return ()
    extra = telling(rows, ("run", "backend", "device", "dtype", "hidden_size"))
    rows = rows.assign(row=[", ".join(map(str, values)) for values in rows[["label", *extra]].to_numpy()])
    names, lengths = unique(rows["row"]), sorted(unique(rows["steps"]))
    panels = [_field(v, rows[rows["variant"] == v], names, lengths) for v in unique(rows["variant"])]
    caption = (
        "Delayed recall: the cell must name the cue of the first of T steps. A field has how many seeds learn"
        f" it (at most 1 % wrong), of {counted(rows['seed'].nunique(), 'seed')}; a panel is an"
        " initialisation. An empty field: the cell cannot have that initialisation."
    )
    columns = [str(n) for n in lengths]

    def draw() -> Any:
        return fields(panels, names, columns, Scale(0, 1), across="T", abreast=4)

    return (Figure("horizon", HEADING, caption, draw),)


def _field(variant: str, rows: pd.DataFrame, names: list[str], lengths: list[int]) -> Field:
    values = np.full((len(names), len(lengths)), np.nan)
    texts = [["" for _ in lengths] for _ in names]
    for (name, steps), here in rows.groupby(["row", "steps"]):
        i, k = names.index(name), lengths.index(steps)
        values[i, k] = here["value"].mean()
        texts[i][k] = f"{here['value'].sum():.0f}/{len(here)}"
    return Field(variant.removeprefix("scheme="), values, texts)


def _table(rows: pd.DataFrame) -> Table:
    metrics = {
        "solved": ("solved", digits_of),
        "solved_step": ("at step", whole),
        "error_rate": ("error rate", digits_of),
    }
    note = "Solved: at most 1 % of the test sequences wrong. Median over seeds."
    return numbers(HEADING, rows, metrics, note)
