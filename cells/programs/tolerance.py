"""How far an array may be from the float64 reference, and how far it is."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


def tolerance(dtype: str, steps: int) -> float:
    """Allowed error relative to the array's largest entry: 32 eps (1 + sqrt T).

    Rounding adds up like a random walk.
    """
    return float(32 * np.finfo(dtype).eps * (1 + np.sqrt(steps)))


def relative_errors(
    arrays: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray], steps: int
) -> dict[str, float]:
    """Errors by name, relative to the array's largest expected entry, or to all arrays' where terms cancel.

    Terms cancel where the float64 reference itself is no larger than float64's own tolerance leaves of the
    largest entry.
    """
    sizes = {name: float(np.max(np.abs(value), initial=0.0)) for name, value in expected.items()}
    largest = max(sizes.values())
    cancelled = tolerance("float64", steps) * largest
    scales = {name: largest if size <= cancelled else None for name, size in sizes.items()}
    return {name: relative_error(value, expected[name], scales[name]) for name, value in arrays.items()}


def relative_error(value: np.ndarray, expected: np.ndarray, scale: float | None = None) -> float:
    """Largest absolute difference over the scale.

    The scale is the largest absolute entry expected (or 1e-30) unless given. NaN for another shape, or where
    the expected is not finite.
    """
    if value.shape != expected.shape or not np.isfinite(expected).all():
        return float("nan")
    scale = float(np.max(np.abs(expected), initial=0.0)) if scale is None else scale
    return float(np.max(np.abs(value - expected), initial=0.0) / max(scale, 1e-30))
