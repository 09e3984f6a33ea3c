"""Loss against steps by clipping threshold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ..drawing import drawing
from ..drawing.losses import loss_scale, smoothed, with_a_finite_loss
from ..drawing.panels import MANY, Figure, at, cut, finish, number, parts, titled
from ..frame import PANEL, of_metric, of_probe, sized, unique, varying


def clipping(frame: pd.DataFrame) -> Figure | None:
    """Training loss against steps for each way of clipping: median over seeds."""
    part = of_metric(of_probe(frame, "clipping"), "loss")
    extra = varying(part, ("task", *PANEL))
    part = with_a_finite_loss(part, ["label", "backend", *extra])
    if not len(part):
        return None
    panels, rest = cut(parts(part, ["label", "backend", *extra]))
    caption = (
        "Training loss against optimiser steps by the largest gradient norm that is let through; median over"
        f" {number(part['seed'].nunique(), 'seed')}. A gap is a step at which the median is not finite."
    )
    return finish("clipping", "Gradient clipping", caption + rest, lambda: _clipping_panels(panels, extra))


def _clipping_panels(panels: list, extra: list[str]) -> Any:
    variants = unique(variant for _, rows in panels for variant in rows["variant"])
    colours, names = drawing.shades(variants), {v: v.removeprefix("max_norm=") for v in variants}
    many = len(panels) > 2 * MANY
    columns = min(4 if many else 3, len(panels))
    room = drawing.legend_room(["largest norm", *names.values()])
    figure, axes = drawing.grid(-(-len(panels) // columns), columns, 1.2 if many else 1.9, room, gap=0.6)
    for axis, (values, rows) in zip(axes.flat, panels, strict=False):
        for variant, one in rows.groupby("variant", sort=False):
            _clipping_line(axis, one, colours[variant])
        loss_scale(axis)
        titled(axis, f"{sized(values[0], rows.iloc[0])}, {values[1]}{at(extra, values[2:])}")
        axis.set_xlabel("optimiser steps")
    for row in axes:
        row[0].set_ylabel("loss")
    for unused in axes.flat[len(panels) :]:
        unused.set_visible(False)
    shown = {names[v] or "–": drawing.line(colours[v]) for v in variants}
    drawing.legend(axes[0][columns - 1], shown, "largest norm")
    return figure


def _clipping_line(axis: Any, rows: pd.DataFrame, colour: Any) -> None:
    """The median over seeds, a loss that is not finite counting as the worst; gaps where it is not finite."""
    worst = rows.assign(loss=rows["value"].where(np.isfinite(rows["value"]), np.inf))
    middle = worst.groupby("lag", as_index=False)["loss"].median()
    curve = smoothed(middle.assign(loss=middle["loss"].where(np.isfinite(middle["loss"]))))
    axis.plot(curve["lag"], curve["loss"], color=colour)
