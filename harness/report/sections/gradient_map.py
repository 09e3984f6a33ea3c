"""The gradient's rate over the gain of the recurrent matrices and a bias."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..drawing.heat import Field, Scale, fields
from ..drawing.panels import Figure, cut, finish, number, parts
from ..frame import of_metric, of_probe, sized, unique
from ..units import digits

WIDEST = 0.7  # nats a step, at which the colours end


def gradient_map(frame: pd.DataFrame) -> Figure | None:
    """A panel for each cell: bias down, gain across, the mean rate over seeds as colour and number."""
    part = of_probe(frame, "gradient_decay")
    keys = ["run", "case", "seed", "label", "match", "hidden_size"]
    points = of_metric(part, "mapped_rate", "gain", "bias").pivot_table(
        index=keys, columns="metric", values="value", sort=False, dropna=False
    )
    if "mapped_rate" not in points:
        return None
    points = (
        points.dropna(subset=["mapped_rate"])
        .reset_index()
        .reindex(columns=[*keys, "mapped_rate", "gain", "bias"])
    )
    if not len(points):
        return None
    gains, biases = (sorted(points[name].dropna().unique()) or [np.nan] for name in ("gain", "bias"))
    panels, rest = cut(
        [_field(rows, gains, biases) for _, rows in parts(points, ["run", "label", "hidden_size"])]
    )
    what = "the gain of orthogonal recurrent matrices" if not np.isnan(gains[0]) else "one initialisation"
    caption = (
        "Rate of the gradient in nats a step over"
        f" {what}{' and the bias of the gate that keeps the state (of all gates where none does)' if not np.isnan(biases[0]) else ''};"
        f" mean over {number(points['seed'].nunique(), 'seed')}. Blue decays, red grows, white carries."
    )
    rows = ["" if np.isnan(b) else f"{b:g}" for b in biases]
    columns = ["" if np.isnan(g) else f"{g:g}" for g in gains]
    scale = Scale(-WIDEST, WIDEST, "RdBu_r")
    return finish(
        "gradient_map",
        "Gradient rate over gain and bias",
        caption + rest,
        lambda: fields(panels, rows, columns, scale, across="gain", up="bias", abreast=4, bar="nats/step"),
    )


def _field(rows: pd.DataFrame, gains: list[float], biases: list[float]) -> Field:
    values = np.full((len(biases), len(gains)), np.nan)
    texts = [["" for _ in gains] for _ in biases]
    for (bias, gain), here in rows.groupby(["bias", "gain"], dropna=False):
        i, k = (0 if np.isnan(v) else known.index(v) for v, known in ((bias, biases), (gain, gains)))
        values[i, k] = max(here["mapped_rate"].mean(), -1e3)
        texts[i][k] = digits(here["mapped_rate"].mean())
    return Field(sized(unique(rows["label"])[0], rows.iloc[0]), values, texts)
