"""What networks of known condition are found to be."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..drawing import drawing
from ..drawing.heat import Field, Scale, fields
from ..drawing.panels import Figure, finish
from ..frame import of_probe, unique, varying

LABELS = ("CONVERGED", "LEARNING", "VANISHED", "EXPLODED", "DEAD STATE", "DEAD READ-OUT", "UNDETERMINED")
LABEL = "label."


def verdict(frame: pd.DataFrame) -> Figure | None:
    """Cells down, conditions across, the verdict as colour and word: the one that most seeds give."""
    part = of_probe(frame, "verdict")
    part = part[part["metric"].str.startswith(LABEL)]
    part = part.assign(found=part["metric"].str.removeprefix(LABEL))
    part = part[part["found"].isin(LABELS)]
    if not len(part):
        return None
    extra = varying(part, ("run", "backend", "device", "dtype", "hidden_size"))
    part = part.assign(row=[", ".join(map(str, values)) for values in part[["label", *extra]].to_numpy()])
    rows, kinds = unique(part["row"]), unique(part["variant"])
    caption = (
        "Networks put into a condition on purpose (columns), and what they are found to be: the verdict of"
        " most seeds and how many where they differ. The evidence of each is in the table."
    )
    columns = [kind.replace("_", " ") for kind in kinds]
    return finish("verdict", "Verdicts", caption, lambda: _drawn(_field(part, rows, kinds), rows, columns))


def _field(part: pd.DataFrame, rows: list[str], kinds: list[str]) -> Field:
    values = np.full((len(rows), len(kinds)), np.nan)
    texts = [["" for _ in kinds] for _ in rows]
    for (row, kind), here in part.groupby(["row", "variant"]):
        counts = here["found"].value_counts()
        i, k = rows.index(row), kinds.index(kind)
        values[i, k] = LABELS.index(counts.index[0])
        share = f" {counts.iloc[0]}/{len(here)}" if len(counts) > 1 else ""
        texts[i][k] = counts.index[0].capitalize() + share
    return Field("", values, texts)


def _drawn(panel: Field, rows: list[str], columns: list[str]) -> object:
    colours = tuple(drawing.COLOURS[: len(LABELS)])
    return fields([panel], rows, columns, Scale(0, len(LABELS) - 1, colours), column=1.2)
