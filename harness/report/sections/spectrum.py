"""Lyapunov exponents by their place in the spectrum."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ..drawing.panels import Figure, number
from ..drawing.profiles import Axes, profiles
from ..frame import PANEL, of_metric, of_probe, varying
from ._lines import with_lines


def spectrum(frame: pd.DataFrame, colours: dict[str, str]) -> Figure | None:
    """Exponents, largest first, against their index."""
    part = of_metric(of_probe(frame, "spectrum"), "exponent")
    part = part[np.isfinite(part["value"])]
    if not len(part):
        return None
    seeds = part["seed"].nunique()
    caption = (
        "Lyapunov exponents of the joint state, largest first: growth of small differences, direction by"
        " direction; above 0 they grow (chaos). Mean over"
        f" {number(seeds, 'seed')}{'; band: their 10 to 90 % quantiles' if seeds > 1 else ''}. A line ends"
        " where directions die at once."
    )
    axes = Axes("index of the exponent", "nats/step", _dress)
    return profiles(
        "spectrum", "Lyapunov spectrum", caption, with_lines(part), varying(part, PANEL), colours, axes
    )


def _dress(axis: Any) -> None:
    axis.axhline(0, color="#777777", linestyle=(0, (4, 3)), linewidth=1.1, zorder=0.5)
