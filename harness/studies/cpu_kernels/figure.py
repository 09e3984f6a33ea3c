"""The heat map: how many times as fast the kernels are as the best peer, over batch and hidden size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...report.drawing import drawing
from ...report.drawing.heat import Field, Scale, fields
from .judged import Judged
from .points import Grid

NAME, TITLE = "cpu_kernels", "Time of the best peer over that of the fused kernels"
FURTHEST = 2.0  # the colours' ends: 4 times as slow, 4 times as fast


def draw(grid: Grid, judged: Sequence[Judged]) -> str:
    """SVG: a panel a cell and direction, white where both are as fast."""
    with drawing.style(NAME):
        figure = fields(
            [_panel(grid, judged, cell, way) for way in ("forward", "backward") for cell in grid.cells],
            [str(batch) for batch in grid.batches],
            [str(hidden) for hidden in grid.sizes],
            Scale(-FURTHEST, FURTHEST, "RdBu"),
            across="hidden size H",
            up="batch B",
            abreast=min(3, len(grid.cells)),
            bar="log₂ of the speed-up",
        )
        return drawing.svg(figure, NAME, TITLE)


def _panel(grid: Grid, judged: Sequence[Judged], cell: str, direction: str) -> Field:
    values = np.full((len(grid.batches), len(grid.sizes)), np.nan)
    texts: list[list[Any]] = [[""] * len(grid.sizes) for _ in grid.batches]
    for each in judged:
        point, ratio = each.point, each.ratio
        if (point.cell, point.direction) == (cell, direction) and ratio is not None:
            row, column = list(grid.batches).index(point.batch), list(grid.sizes).index(point.hidden)
            values[row, column] = np.log2(ratio.value)
            texts[row][column] = f"{ratio.value:.2f}" if ratio.value < 10 else f"{ratio.value:.0f}"
    return Field(f"{cell}, {'forward' if direction == 'forward' else 'forward + backward'}", values, texts)
