"""The gradient's norm against lag."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from .. import drawing
from ..observations import of_metric, of_probe, unique, varying
from ..panels import POINTS, Figure, at, chunks, cut, finish, number, parts, titled
from ..units import power_of_ten

UNDERFLOW, OVERFLOW = -330.0, 310.0  # decades: a little beyond what float64 can hold; the axis is cut there


def gradient_decay(frame: pd.DataFrame, colours: dict[str, str]) -> Figure | None:
    """The norm of dL/d(state) against lag, in powers of ten: log norms are drawn as they are, so nothing over- or underflows."""
    part = of_metric(of_probe(frame, "gradient_decay"), "log_norm")
    part = part[part["steps"] == part.groupby("run")["steps"].transform("max")]
    part = part.assign(decades=part["value"].where(np.isfinite(part["value"])) / np.log(10)).dropna(subset=["decades", "lag"])
    if not len(part):
        return None
    extra = varying(part)
    groups = parts(part.assign(all=""), [*extra, "all"])
    panels = [(values[:-1], rows, names) for values, rows in groups for names in chunks(unique(rows["label"]), 8)]
    panels, rest = cut(panels)
    seeds, samples = part["seed"].nunique(), part["sample"].nunique()
    beyond = part["decades"].min() < UNDERFLOW or part["decades"].max() > OVERFLOW
    caption = (
        "Norm of the gradient of the loss with respect to the joint state, against how many steps that state lies before the "
        f"last. Line: mean of the log over {number(samples, 'sample')} and {number(seeds, 'seed')}"
        f"{'; band: range over seeds' if seeds > 1 else ''}. A gap is a gradient of exactly 0."
    )
    caption += " The axis ends where float64 does; lines go on beyond it." if beyond else ""
    return finish("gradient_decay", "Gradient norm against lag", caption + rest, lambda: _decay_panels(panels, extra, colours))


def _decay_panels(panels: list, extra: list[str], colours: dict[str, str]) -> Any:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    room = drawing.legend_room([name for _, _, names in panels for name in names])
    height = 3.2 if len(panels) == 1 else 2.6
    figure, axes = drawing.grid(len(panels), 1, height, room, left=0.85, widest=8.0, sharex=True, sharey=True)
    lows, highs = [], []
    for axis, (values, rows, names) in zip(axes[:, 0], panels, strict=True):
        for name in names:
            low, high = _decay_line(axis, rows[rows["label"] == name], colours[name])
            lows.append(low)
            highs.append(high)
        titled(axis, at(extra, values).removeprefix(" · "))
        axis.set_ylabel("gradient norm")
        axis.tick_params(labelbottom=True)
        axis.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: power_of_ten(value)))
        drawing.legend(axis, {name: drawing.line(colours[name]) for name in names}, "cell")
    low, high = max(min(lows), UNDERFLOW), min(max(highs), OVERFLOW)
    low, high = min(low, OVERFLOW - 1), max(high, UNDERFLOW + 1)
    axes[0, 0].set_ylim(low - max(0.04 * (high - low), 0.5), high + max(0.04 * (high - low), 0.5))
    axes[-1, 0].set_xlabel("lag (steps before the last)")
    return figure


def _decay_line(axis: Any, rows: pd.DataFrame, colour: str) -> tuple[float, float]:
    """Draws one cell; returns its lowest and highest mean, in decades."""
    lags = np.arange(rows["lag"].min(), rows["lag"].max() + 1)
    by_seed = rows.groupby(["lag", "seed"])["decades"].mean().unstack().reindex(lags)
    mean = by_seed.mean(axis=1)
    keep = slice(None, None, max(1, len(lags) // POINTS)) if not mean.isna().any() else slice(None)
    axis.plot(lags[keep], mean.to_numpy()[keep], color=colour)
    if by_seed.shape[1] > 1:
        low, high = by_seed.min(axis=1).to_numpy(), by_seed.max(axis=1).to_numpy()
        axis.fill_between(lags[keep], low[keep], high[keep], color=colour, alpha=0.15, linewidth=0)
    return float(mean.min()), float(mean.max())
