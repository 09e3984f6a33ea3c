"""The gradient's rate over the gain of the recurrent matrices and a bias."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ..drawing.heat import Field, Scale, fields
from ..drawing.panels import Figure, counted, cut, parts
from ..frame import measured, of_metric, sized, unique
from ..units import digits

WIDEST = 0.7  # nats a step, at which the colours end


HEADING = "Gradient rate over gain and bias"


def gradient_map(rows: pd.DataFrame) -> tuple[Figure, ...]:
    """A panel for each cell: bias down, gain across, the mean rate over seeds as colour and number."""
    points = _points(measured(rows))
    if not len(points):
        return ()
    gains, biases = (sorted(points[name].dropna().unique()) or [np.nan] for name in ("gain", "bias"))
    panels, rest = cut(
        [_field(here, gains, biases) for _, here in parts(points, ["run", "label", "hidden_size"])]
    )
    seeds = counted(points["seed"].nunique(), "seed")
    caption = f"Rate of the gradient in nats (natural logarithm) a step; mean over {seeds}."
    if not np.isnan(gains[0]):
        caption += " Gain: of orthogonal recurrent matrices."
    if not np.isnan(biases[0]):
        caption += " Bias: of the gate that keeps the state; of all gates where none does."
    caption += " Blue decays, red grows, white carries."
    up = ["" if np.isnan(b) else f"{b:g}" for b in biases]
    across = ["" if np.isnan(g) else f"{g:g}" for g in gains]

    def draw() -> Any:
        scale = Scale(-WIDEST, WIDEST, "RdBu_r")
        return fields(panels, up, across, scale, across="gain", up="bias", abreast=4, bar="nats/step")

    return (Figure("gradient_map", HEADING, caption + rest, draw),)


def _points(rows: pd.DataFrame) -> pd.DataFrame:
    """A row for each point that has a rate, with the columns mapped_rate, gain and bias."""
    keys = ["run", "case", "seed", "label", "match", "hidden_size"]
    values = of_metric(rows, "mapped_rate", "gain", "bias")
    # dropna=False: a gain or bias that is not varied is NaN in every row, and its column must stay
    points = values.pivot_table(index=keys, columns="metric", values="value", sort=False, dropna=False)
    points = points.reset_index().reindex(columns=[*keys, "mapped_rate", "gain", "bias"])
    return points.dropna(subset=["mapped_rate"])


def _field(rows: pd.DataFrame, gains: list[float], biases: list[float]) -> Field:
    values = np.full((len(biases), len(gains)), np.nan)
    texts = [["" for _ in gains] for _ in biases]
    for (bias, gain), here in rows.groupby(["bias", "gain"], dropna=False):
        i, k = (0 if np.isnan(v) else known.index(v) for v, known in ((bias, biases), (gain, gains)))
        values[i, k] = max(here["mapped_rate"].mean(), -1e3)
        texts[i][k] = digits(here["mapped_rate"].mean())
    return Field(sized(unique(rows["label"])[0], rows.iloc[0]), values, texts)
