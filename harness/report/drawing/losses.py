"""Loss curves: which can be drawn, how they are smoothed, and their axis."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from . import drawing
from .panels import POINTS

LEAST = 0.1  # of its highest loss, that an axis spans at least


def with_a_finite_loss(loss: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """The rows of those groups in which any loss can be drawn."""
    finite = (
        loss.assign(finite=np.isfinite(loss["value"])).groupby(keys, sort=False)["finite"].transform("any")
    )
    return loss[finite.astype(bool)]


def smoothed(curve: pd.DataFrame, beyond: int = 200, share: int = 50, points: int = POINTS) -> pd.DataFrame:
    """Beyond so many points a running mean over 1/share of them, thinned to `points` and the last."""
    if len(curve) <= beyond:
        return curve
    mean = (
        curve["loss"]
        .rolling(max(3, len(curve) // share), center=True, min_periods=1)
        .mean()
        .where(curve["loss"].notna())
    )
    kept = np.arange(0, len(curve) - 1, max(1, -(-len(curve) // points)))
    return curve.assign(loss=mean).iloc[[*kept, len(curve) - 1]]


def loss_scale(axis: Any) -> None:
    """A log scale if lines are positive and span more than a factor of 30; no spike sets the limit."""
    from matplotlib.ticker import MaxNLocator

    drawn = np.concatenate(
        [np.asarray(line.get_ydata(), dtype=float) for line in axis.get_lines()] or [np.ones(1)]
    )
    drawn = drawn[np.isfinite(drawn)] if np.isfinite(drawn).any() else np.ones(1)
    low, high = drawn.min(), drawn.max()
    if low > 0 and high / low > 30:
        drawing.log_axis(axis.yaxis, low, min(high, np.median(drawn) * 1e4))
        return
    # the last line drawn is the trivial loss, where known
    spike_free = max(np.quantile(drawn, 0.98) * 2, drawn[-1])
    top = min(high, spike_free) if high > 0 else high
    # the noise of a loss that stays where it is shall not fill the panel
    margin = max(0.05 * (top - low), (LEAST * abs(top) - (top - low)) / 2) or 0.5
    axis.set_ylim(low - margin, top + margin)
    axis.yaxis.set_major_locator(MaxNLocator(5))


def axis_of(curves: np.ndarray, across: np.ndarray) -> tuple[float, float, bool]:
    """(low, high, whether log) of an axis that shows curves, but for their spikes, and every level across.

    It is log where all of it is positive and spans more than a factor of 30; a level of 0 is then left out.
    """
    curves, across = curves[np.isfinite(curves)], across[np.isfinite(across)]
    highest, level = curves.max(), across.max(initial=-np.inf)
    top = max(min(highest, np.quantile(curves, 0.98) * 2) if highest > 0 else highest, level)
    low = np.concatenate([curves, across[across > 0]]).min()
    if low > 0 and top / low > 30:
        return float(low), float(max(min(highest, np.median(curves) * 1e4), level)), True
    low = min(curves.min(), across.min(initial=np.inf))
    margin = 0.05 * (top - low) or 0.5
    return float(low - margin), float(top + margin), False
