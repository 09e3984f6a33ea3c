# mypy: allow-untyped-defs, allow-incomplete-defs
# All below the docstring is printed into kernels, where Numba finds the types.
"""The constants of Numba kernels in float32, and the reduction that exp and its relatives share."""

from typing import Any

import numpy as np
from numba import float32 as real
from numba import int32 as whole
from numba import njit

OPTIONS: Any = {"error_model": "numpy", "fastmath": {"contract"}, "cache": True}
LOG2_E = np.float32(1.4426950408889634)
LN2_HIGH, LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
ROUND = np.float32(12582912.0)  # 1.5 * 2^23: adding it leaves the nearest whole number in the low bits
C2, C3, C4 = np.float32(1 / 2), np.float32(1 / 6), np.float32(1 / 24)
C5, C6, C7 = np.float32(1 / 120), np.float32(1 / 720), np.float32(1 / 5040)
ZERO, HALF, ONE, TWO, FOUR = np.float32(0), np.float32(0.5), np.float32(1), np.float32(2), np.float32(4)
EXP_BOUND, SIGMOID_BOUND, TANH_BOUND = real(174), real(87), real(40)  # beyond them the values are constant


@njit(**OPTIONS)
def reduced(x):
    """(2^n, expm1(r)) for x = n ln 2 + r, |x| <= 87."""
    shifted = x * LOG2_E + ROUND
    n = shifted - ROUND
    r = x - n * LN2_HIGH
    r = r - n * LN2_LOW
    bits = np.int32((np.float32(shifted).view(np.int32) << whole(23)) + whole(0x3F800000))
    p = ((((C7 * r + C6) * r + C5) * r + C4) * r + C3) * r + C2
    return bits.view(np.float32), p * r * r + r
