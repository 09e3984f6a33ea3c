"""Weights laid out as the kernels' product (`product`) reads them: panels of so many outputs each."""

from __future__ import annotations

import numpy as np


def whole(outputs: int, panel: int) -> int:
    """The outputs of the panels, of `panel` outputs each, that so many fit in."""
    return -(-outputs // panel) * panel


def packed(weights: np.ndarray, panel: int) -> np.ndarray:
    """weights (N, outputs, K) as panels (N, P, K, panel); outputs beyond the last are 0."""
    count, outputs, inner = weights.shape
    panels = np.zeros((count, whole(outputs, panel), inner), weights.dtype)
    panels[:, :outputs] = weights
    return np.ascontiguousarray(panels.reshape(count, panels.shape[1] // panel, panel, inner).swapaxes(2, 3))
