"""The figures of a report, one file each; a figure is None when there is nothing to draw, so that no panel is ever empty."""

from __future__ import annotations

import pandas as pd

from .. import drawing
from ..observations import unique
from ..panels import Figure
from . import clipping, gradient_decay, throughput, training

NAMES = ("throughput", "gradient_decay", "training", "clipping")


def figures(frame: pd.DataFrame) -> list[Figure]:
    """All figures for which the prepared frame has data."""
    backends = drawing.colours(sorted(unique(frame["backend"])))
    cells = drawing.colours(unique(frame["label"]))
    drawn = (
        throughput.throughput(frame, backends),
        gradient_decay.gradient_decay(frame, cells),
        training.training(frame, backends, cells),
        clipping.clipping(frame),
    )
    return [figure for figure in drawn if figure]
