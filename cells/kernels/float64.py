# mypy: allow-untyped-defs, allow-incomplete-defs
# All below the docstring is printed into kernels, where Numba finds the types.
"""The constants of Numba kernels in float64, and the two series that exp, log and their relatives share."""

from typing import Any

import numpy as np
from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba import float64 as real
from numba import int64 as whole
from numba import njit

OPTIONS: Any = {"error_model": "numpy", "fastmath": {"contract"}}
FEATURES = get_host_cpu_features()  # of vectors: 64, 32 or 16 bytes, and 32 or 16 of them
FLOAT, LANES = ir.DoubleType(), (64 if FEATURES.get("avx512f") else 32 if FEATURES.get("avx2") else 16) // 8
PANEL = LANES * (2 if LANES == 32 // 8 else 4)  # six rows of a panel are the sums that registers hold
LOG2_E = np.float64(1.4426950408889634)
LN2_HIGH, LN2_LOW = np.float64(6.93145751953125e-1), np.float64(1.42860682030941723212e-6)
# adding it leaves the nearest whole number in the low bits, plus what a number's exponent is stored with
ROUND = np.float64(1.5 * 2.0**52 + 1023)
MANTISSA, ROOT_HALF = whole(52), whole(0x3FE6A09E667F3BCD)  # the bits of sqrt(1/2)
TINY, GROWN, GROWTH = np.float64(2.0**-1022), np.float64(2.0**53), np.float64(53)
LN2 = np.float64(0.6931471805599453)
# Chebyshev, relative errors below a quarter unit of rounding: expm1(r) = r + r^2 (E2 + E3 r + ...) where
# |r| <= ln 2 / 2, and atanh(s) = s + s u (A1 + A2 u + ...) where u = s^2 <= 1/9
E2, E3, E4 = np.float64(0.5000000000000001), np.float64(0.16666666666666667), np.float64(0.04166666666662408)
E5, E6 = np.float64(0.008333333333330058), np.float64(0.0013888888917238233)
E7, E8 = np.float64(0.00019841269862473069), np.float64(2.4801521257866648e-5)
E9, E10 = np.float64(2.755726843070710e-6), np.float64(2.7620106559514167e-7)
E11 = np.float64(2.5100399425451985e-8)
A1, A2, A3 = np.float64(0.3333333333333333), np.float64(0.2000000000000729), np.float64(0.1428571428355438)
A4, A5, A6 = np.float64(0.1111111135871393), np.float64(0.09090894718066429), np.float64(0.07692785032479312)
A7, A8, A9 = np.float64(0.06657072104827468), np.float64(0.06000536404795356), np.float64(0.04400369243072337)
A10 = np.float64(0.08082022805976617)
NOUGHT = np.float64(-0.0)  # adding it changes nothing, so that LLVM leaves it out
INFINITY, NAN = np.float64(np.inf), np.float64(np.nan)
ZERO, HALF, ONE, TWO, FOUR = np.float64(0), np.float64(0.5), np.float64(1), np.float64(2), np.float64(4)
EXP_BOUND, BOUND = real(1416), real(708)  # beyond them the values are constant


@njit(**OPTIONS)
def bits_of(x):
    return np.float64(x).view(np.int64)


@njit(**OPTIONS)
def number_of(bits):
    return np.int64(bits).view(np.float64)


@njit(**OPTIONS)
def expm1_near_0(r):
    square = r * r  # a tree: what a step waits for is the longest chain
    p = ((E11 * r + E10) * square + (E9 * r + E8)) * (square * square)
    return ((p + ((E7 * r + E6) * square + (E5 * r + E4))) * square + (E3 * r + E2)) * square + r


@njit(**OPTIONS)
def atanh_rest(u):
    p = ((((A10 * u + A9) * u + A8) * u + A7) * u + A6) * u + A5
    return (((p * u + A4) * u + A3) * u + A2) * u + A1
