"""Products and sums of arrays with a short last axis, at the speed of long ones.

NumPy begins its inner loop anew for each run of the last axis. Sixteen numbers, such as the states of one
channel, are then mostly beginnings: a sum takes eight times as long, a product up to twice.
"""

from __future__ import annotations

import math
from itertools import groupby
from typing import Any

import numpy as np

SHORT = 128  # numbers; from here on NumPy's own loops are as fast
FEW = 4096  # numbers, for which a call of einsum takes longer than the loop
_AXES = "abcdefghijklmnopqrstuvwxyz"


def times(a: Any, b: Any) -> Any:
    """a * b, with broadcasting."""
    if not (_is_real(a) and _is_real(b)) or a.shape == b.shape or not a.ndim * b.ndim:
        return a * b
    shape = np.broadcast_shapes(a.shape, b.shape)
    # else NumPy reads one of them as it lies, and the other in runs of two axes
    repeated = a.shape[-2:] != shape[-2:] != b.shape[-2:] or 1 in (a.shape[-1], b.shape[-1])
    slow = repeated and len(shape) > 1 and shape[-1] < SHORT and math.prod(shape) >= FEW
    return _einsum(a, b, shape) if slow else a * b


def times_summed(a: Any, b: Any, shape: tuple[int, ...]) -> Any:
    """a * b, summed over the last axis where that alone has size 1 in `shape`: no product lies in memory."""
    if not (_is_real(a) and _is_real(b)) or not a.ndim * b.ndim:
        return a * b
    whole = np.broadcast_shapes(a.shape, b.shape)
    alone = whole != shape == (*whole[:-1], 1)
    return _einsum(a, b, shape) if alone and whole[-1] < SHORT else times(a, b)


def _einsum(a: np.ndarray, b: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """a * b, summed over the axes that have size 1 in `shape`."""
    (of_a, a), (of_b, b) = _without_ones(a, len(shape)), _without_ones(b, len(shape))
    kept = "".join(_AXES[k] for k, size in enumerate(shape) if size != 1)
    return np.einsum(f"{of_a},{of_b}->{kept}", a, b).reshape(shape)


def _without_ones(array: np.ndarray, axes: int) -> tuple[str, np.ndarray]:
    """An array without its axes of size 1, after the letters of the others; it ends where `axes` end."""
    kept = [k for k, size in enumerate(array.shape) if size != 1]
    first = axes - array.ndim
    return "".join(_AXES[first + k] for k in kept), array.reshape([array.shape[k] for k in kept])


def summed(array: Any, axis: int | tuple[int, ...], keepdims: bool = False) -> Any:
    """array.sum(axis, keepdims=keepdims)."""
    if not _is_real(array) or not array.flags.c_contiguous or not array.size:
        return array.sum(axis, keepdims=keepdims)
    axes = tuple(k % array.ndim for k in (axis if isinstance(axis, tuple) else (axis,)))
    shape = [1 if k in axes else n for k, n in enumerate(array.shape)]
    # axes side by side are summed as one, from the last on, so that what is left is contiguous
    runs = [[k for _, k in run] for _, run in groupby(enumerate(sorted(axes)), lambda p: p[1] - p[0])]
    for run in reversed(runs):
        array = _summed_run(array, run[0], run[-1] + 1)
    return array.reshape(shape if keepdims else [n for k, n in enumerate(shape) if k not in axes])


def _summed_run(array: np.ndarray, first: int, end: int) -> np.ndarray:
    """The sum over axes side by side, which stay with size 1; where runs are short, a product with ones."""
    count, inner = math.prod(array.shape[first:end]), math.prod(array.shape[end:])
    shape = (*array.shape[:first], *[1] * (end - first), *array.shape[end:])
    ones = np.ones(count, array.dtype)
    if inner == 1 and count < SHORT:
        return (array.reshape(-1, count) @ ones).reshape(shape)
    if 1 < inner < SHORT:
        return (ones[None] @ array.reshape(-1, count, inner)).reshape(shape)
    return array.sum(tuple(range(first, end)), keepdims=True)


def _is_real(array: Any) -> bool:
    return isinstance(array, np.ndarray) and array.dtype in (np.float32, np.float64)
