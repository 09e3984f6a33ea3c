# mypy: allow-untyped-defs, allow-incomplete-defs
# All below the docstring is printed into kernels, where Numba finds the types.
"""The constants of Numba kernels in float32, and the reduction that exp and its relatives share."""

from typing import Any

import numpy as np
from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba import float32 as real
from numba import int32 as whole
from numba import njit

OPTIONS: Any = {"error_model": "numpy", "fastmath": {"contract"}, "cache": True}
FEATURES = get_host_cpu_features()  # of vectors: 64, 32 or 16 bytes, and 32 or 16 of them
FLOAT, LANES = ir.FloatType(), (64 if FEATURES.get("avx512f") else 32 if FEATURES.get("avx2") else 16) // 4
PANEL = LANES * (2 if LANES == 32 // 4 else 4)  # six rows of a panel are the sums that registers hold
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
