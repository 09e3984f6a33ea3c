"""Norms that neither overflow nor underflow, whatever the dtype of the gradients."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np


def total_norm(arrays: Iterable[Any]) -> float:
    """Euclidean norm over all entries of all arrays (NumPy or torch), exact from 1e-300 to 1e300; NaN or inf if one entry is.

    Scaled by the largest entry and summed in float64; torch.nn.utils.clip_grad_norm_ sums squares in the arrays' own dtype,
    so that float32 entries of 1e20 give inf and those of 1e-25 give 0.
    """
    flat = [np.asarray(a.detach().cpu() if hasattr(a, "detach") else a, dtype=np.float64).ravel() for a in arrays]
    flat = [a for a in flat if a.size]
    largest = max((float(np.max(np.abs(a))) for a in flat), default=0.0)
    if any(np.isnan(a).any() for a in flat):
        return float("nan")
    if largest == 0 or np.isinf(largest):
        return largest
    return largest * float(np.sqrt(sum(np.sum(np.square(a / largest)) for a in flat)))
