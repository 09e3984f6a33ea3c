"""Arrays that begin with a line of the caches, so that no register of 64 bytes is read from two lines."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import DTypeLike

BYTES = 64  # of a line, on x86; a line of 128 begins with one of them


def empty(shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
    """An array of this shape, C-contiguous, with whatever the memory holds. NumPy begins one at 16 bytes."""
    kind = np.dtype(dtype)
    room = np.empty(math.prod(shape) + BYTES // kind.itemsize, kind)
    begin = -room.ctypes.data % BYTES // kind.itemsize
    return room[begin : begin + math.prod(shape)].reshape(shape)
