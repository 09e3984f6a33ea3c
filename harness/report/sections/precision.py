"""The gradient's norm by lag in each number format."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ...gradients.cell.precision import FORMATS
from ..drawing.panels import Figure, number
from ..drawing.profiles import Axes, profiles
from ..frame import PANEL, of_metric, of_probe, varying
from .gradient_decay import OVERFLOW, UNDERFLOW, decades


def precision(frame: pd.DataFrame, colours: dict[str, str]) -> Figure | None:
    """A panel for each cell, a line for each format; a line ends where the format has nothing left."""
    part = of_metric(of_probe(frame, "precision"), "log_norm")
    part = part.assign(
        value=part["value"].where(np.isfinite(part["value"])) / np.log(10), line=part["variant"]
    )
    part = part.dropna(subset=["value", "lag"])
    if not len(part):
        return None
    order = {name: i for i, name in enumerate(FORMATS)}
    part = part.assign(rank=part["line"].map(order)).sort_values("rank", kind="stable")
    names = list(dict.fromkeys(frame["label"]))
    part = part.assign(place=part["label"].map(names.index)).sort_values("place", kind="stable")
    seeds = part["seed"].nunique()
    caption = (
        "Norm of the gradient of the joint state by lag, as each number format computes it; mean of the log"
        f" over {number(seeds, 'seed')}. A line ends where the format holds 0 or infinity, and is flat where"
        " it sticks. Dotted: the smallest numbers of float16 and of float32 and bfloat16."
    )
    low, high = max(part["value"].min(), UNDERFLOW), min(part["value"].max(), OVERFLOW)
    extra = [key for key in varying(part, PANEL) if key != "dtype"]

    def dress(axis: Any) -> None:
        decades(axis, low, high)
        for name in ("float16", "float32"):
            axis.axhline(
                np.log10(2.0) * (FORMATS[name].exponents[0] - FORMATS[name].bits + 1),
                color="#999999",
                linestyle=":",
                linewidth=1.0,
                zorder=0.5,
            )

    axes = Axes("lag (steps)", "gradient norm", dress)
    return profiles("precision", "Gradient norm in each number format", caption, part, extra, colours, axes)
