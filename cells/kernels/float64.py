# mypy: allow-untyped-defs, allow-incomplete-defs
# All below the docstring is printed into kernels, where Numba finds the types.
"""The constants of Numba kernels in float64, and the reduction that exp and its relatives share."""

import math
from typing import Any

import numpy as np
from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba import float64 as real
from numba import int64 as whole
from numba import njit

OPTIONS: Any = {"error_model": "numpy", "fastmath": {"contract"}, "cache": True}
FEATURES = get_host_cpu_features()  # of vectors: 64, 32 or 16 bytes, and 32 or 16 of them
FLOAT, LANES = ir.DoubleType(), (64 if FEATURES.get("avx512f") else 32 if FEATURES.get("avx2") else 16) // 8
PANEL = LANES * (2 if LANES == 32 // 8 else 4)  # six rows of a panel are the sums that registers hold
LOG2_E = np.float64(1.4426950408889634)
LN2_HIGH, LN2_LOW = np.float64(6.93145751953125e-1), np.float64(1.42860682030941723212e-6)
ROUND = np.float64(
    6755399441055744.0
)  # 1.5 * 2^52: adding it leaves the nearest whole number in the low bits
C2, C3, C4, C5, C6, C7, C8, C9, C10, C11, C12, C13 = (np.float64(1 / math.factorial(k)) for k in range(2, 14))
ZERO, HALF, ONE, TWO, FOUR = np.float64(0), np.float64(0.5), np.float64(1), np.float64(2), np.float64(4)
EXP_BOUND, SIGMOID_BOUND, TANH_BOUND = real(1416), real(708), real(80)  # beyond them the values are constant


@njit(**OPTIONS)
def reduced(x):
    """(2^n, expm1(r)) for x = n ln 2 + r, |x| <= 708."""
    shifted = x * LOG2_E + ROUND
    n = shifted - ROUND
    r = x - n * LN2_HIGH
    r = r - n * LN2_LOW
    bits = np.int64((np.float64(shifted).view(np.int64) << whole(52)) + whole(0x3FF0000000000000))
    p = (((((C13 * r + C12) * r + C11) * r + C10) * r + C9) * r + C8) * r + C7
    p = ((((p * r + C6) * r + C5) * r + C4) * r + C3) * r + C2
    return bits.view(np.float64), p * r * r + r
