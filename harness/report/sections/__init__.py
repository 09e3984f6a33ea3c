"""The figures of a report, one file each; a figure is None when there is nothing to draw, so that no panel is
ever empty.
"""

from __future__ import annotations

import pandas as pd

from ..drawing import drawing
from ..drawing.panels import Figure
from ..frame import unique
from . import (
    clipping,
    gradient_decay,
    gradient_map,
    horizon,
    identification,
    lag_share,
    precision,
    spectrum,
    throughput,
    training,
    verdict,
)

ONE_A_TASK = "training-*.svg"  # files of figures that have one for each task
CLAIMS = "claim-*.svg"
NAMES = (
    "throughput",
    "gradient_decay",
    "gradient_map",
    "spectrum",
    "lag_share",
    "precision",
    "horizon",
    "training",
    "identification",
    "clipping",
    "verdict",
)


def figures(frame: pd.DataFrame) -> list[Figure]:
    """All figures for which the prepared frame has data."""
    backends = drawing.colours(sorted(unique(frame["backend"])))
    cells = drawing.colours(unique(frame["label"]))
    drawn = (
        throughput.throughput(frame, backends),
        gradient_decay.gradient_decay(frame, cells),
        gradient_map.gradient_map(frame),
        spectrum.spectrum(frame, cells),
        lag_share.lag_share(frame, cells),
        precision.precision(frame, cells),
        horizon.horizon(frame),
        *training.training(frame, backends, cells),
        identification.identification(frame, cells),
        clipping.clipping(frame),
        verdict.verdict(frame),
    )
    return [figure for figure in drawn if figure]
