"""Weights laid out as the kernels' product (`product`) reads them: panels of so many outputs each."""

from __future__ import annotations

import numpy as np

from . import lines


def whole(outputs: int, panel: int) -> int:
    """The outputs of the panels, of `panel` outputs each, that so many fit in."""
    return -(-outputs // panel) * panel


def packed(weights: np.ndarray, panel: int) -> np.ndarray:
    """weights (N, outputs, K) as panels (N, P, K, panel); outputs beyond the last are 0.

    Raises ValueError where the memory has no room for them.
    """
    count, outputs, inner = weights.shape
    try:
        panels = lines.empty((count, whole(outputs, panel) // panel, inner, panel), weights.dtype)
    except MemoryError:
        size = count * whole(outputs, panel) * inner * weights.itemsize / 2**30
        raise ValueError(
            f"weights ({outputs}, {inner}) take {size:.0f} GiB once more when packed, which this machine"
            " does not have; take a smaller size, float32, or a backend that does not pack: torch, numpy"
        ) from None
    for p in range(panels.shape[1]):
        some = weights[:, p * panel : (p + 1) * panel]
        panels[:, p, :, : some.shape[1]] = some.swapaxes(1, 2)
        panels[:, p, :, some.shape[1] :] = 0
    return panels
