"""What networks of known condition are found to be."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from ..drawing import drawing
from ..drawing.heat import Field, Scale, fields
from ..drawing.panels import Figure
from ..frame import SETTING, measured, telling, unique
from ..section import Colours, Section
from ..table import Entry, Table

LABELS = ("CONVERGED", "LEARNING", "VANISHED", "EXPLODED", "DEAD STATE", "DEAD READ-OUT", "UNDETERMINED")
LABEL = "label."


ORDER = 34
QUESTION = "Learns?"
HEADING = "Verdicts"


def sections(rows: pd.DataFrame, colours: Colours) -> Iterator[Section]:
    rows = measured(rows)
    rows = rows[rows["metric"].str.startswith(LABEL)]
    yield Section(HEADING, _figures(rows), (_table(rows),) if len(rows) else ())


def _figures(rows: pd.DataFrame) -> tuple[Figure, ...]:
    """Cells down, conditions across, the verdict as colour and word: the one that most seeds give."""
    rows = rows.assign(verdict=rows["metric"].str.removeprefix(LABEL))
    rows = rows[rows["verdict"].isin(LABELS)]
    if not len(rows):
        return ()
    extra = telling(rows, ("run", "backend", "device", "dtype", "hidden_size"))
    rows = rows.assign(row=[", ".join(map(str, values)) for values in rows[["label", *extra]].to_numpy()])
    names, conditions = unique(rows["row"]), unique(rows["variant"])
    caption = (
        "Columns: networks that were put into a condition on purpose. A field has the verdict on them: that"
        " of most seeds, and how many give it where they differ. The table has the evidence of each."
    )
    columns = [condition.replace("_", " ") for condition in conditions]
    drawn = Figure(
        "verdict", HEADING, caption, lambda: _drawn(_field(rows, names, conditions), names, columns)
    )
    return (drawn,)


def _field(rows: pd.DataFrame, names: list[str], conditions: list[str]) -> Field:
    values = np.full((len(names), len(conditions)), np.nan)
    texts = [["" for _ in conditions] for _ in names]
    for (name, condition), here in rows.groupby(["row", "variant"]):
        counts = here["verdict"].value_counts()
        i, k = names.index(name), conditions.index(condition)
        values[i, k] = LABELS.index(counts.index[0])
        share = f" {counts.iloc[0]}/{len(here)}" if len(counts) > 1 else ""
        texts[i][k] = counts.index[0].capitalize() + share
    return Field("", values, texts)


def _drawn(panel: Field, names: list[str], columns: list[str]) -> object:
    colours = tuple(drawing.COLOURS[: len(LABELS)])
    return fields([panel], names, columns, Scale(0, len(LABELS) - 1, colours), column=1.2)


def _table(rows: pd.DataFrame) -> Table:
    """Each trained case with its evidence."""
    keys = ["label", *telling(rows, ("backend", *SETTING)), "variant", "seed"]
    entries = []
    for values, here in rows.groupby(keys, sort=False):
        label = unique(here["metric"])[0].removeprefix(LABEL)
        line = next((reason for reason in unique(here["reason"]) if reason), "")
        evidence = line.removeprefix(label).lstrip(": ")
        entries.append((*(Entry(str(v)) for v in values), Entry(label), Entry(evidence)))
    header = ("cell", *("condition" if k == "variant" else k for k in keys[1:]), "verdict", "evidence")
    note = "Condition: that which the network was put into before it was judged."
    return Table(HEADING, header, tuple(entries), note)
