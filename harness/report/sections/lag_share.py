"""How much of the recurrent weights' gradient comes from within a lag."""

from __future__ import annotations

from typing import Any

import pandas as pd

from ..drawing.panels import Figure, number
from ..drawing.profiles import Axes, profiles
from ..frame import PANEL, of_metric, of_probe, varying
from ._lines import with_lines


def lag_share(frame: pd.DataFrame, colours: dict[str, str]) -> Figure | None:
    """Signed shares summed from lag 0 on: 1 at the end, 0.95 at k95."""
    part = of_metric(of_probe(frame, "lag_share"), "signed")
    if not len(part):
        return None
    part = part.sort_values("lag", kind="stable")
    part = part.assign(
        value=part.groupby(["run", "case", "label", "variant", "seed", "hidden_size"])["value"].cumsum()
    )
    seeds = part["seed"].nunique()
    caption = (
        "Share of the gradient of the recurrent weights that the last k steps explain, by lag k, for a loss"
        " at the last step; above 1 where later lags pull the other way. Mean over"
        f" {number(seeds, 'seed')}{'; band: their 10 to 90 % quantiles' if seeds > 1 else ''}. Dashed: 95 %,"
        " which is reached at k95."
    )
    axes = Axes("lag (steps before the last)", "share so far", _dress)
    return profiles(
        "lag_share",
        "Lag share of the parameter gradient",
        caption,
        with_lines(part),
        varying(part, PANEL),
        colours,
        axes,
    )


def _dress(axis: Any) -> None:
    axis.axhline(0.95, color="#777777", linestyle=(0, (4, 3)), linewidth=1.1, zorder=0.5)
    axis.set_xscale("symlog", linthresh=10, linscale=1.0)
    axis.set_xlim(left=0)
    axis.set_xticks([0, 5, 10, 100], ["0", "5", "10", "100"])
