# mypy: allow-untyped-defs, allow-incomplete-defs
# All below the docstring is printed into kernels, where Numba finds the types.
"""The constants of Numba kernels in float32, and the two series that exp, log and their relatives share."""

from typing import Any

import numpy as np
from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba import float32 as real
from numba import int32 as whole
from numba import njit

OPTIONS: Any = {"error_model": "numpy", "fastmath": {"contract"}}
FEATURES = get_host_cpu_features()  # of vectors: 64, 32 or 16 bytes, and 32 or 16 of them
FLOAT, LANES = ir.FloatType(), (64 if FEATURES.get("avx512f") else 32 if FEATURES.get("avx2") else 16) // 4
PANEL = LANES * (2 if LANES == 32 // 4 else 4)  # six rows of a panel are the sums that registers hold
LOG2_E = np.float32(1.4426950408889634)
LN2_HIGH, LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
# adding it leaves the nearest whole number in the low bits, plus what a number's exponent is stored with
ROUND = np.float32(1.5 * 2.0**23 + 127)
MANTISSA, ROOT_HALF = whole(23), whole(0x3F3504F3)  # the bits of sqrt(1/2)
TINY, GROWN, GROWTH = np.float32(2.0**-126), np.float32(2.0**24), np.float32(24)
LN2 = np.float32(0.6931471805599453)
# Chebyshev, relative errors below a quarter unit of rounding: expm1(r) = r + r^2 (E2 + E3 r + ...) where
# |r| <= ln 2 / 2, and atanh(s) = s + s u (A1 + A2 u + ...) where u = s^2 <= 1/9
E2, E3, E4 = np.float32(0.5), np.float32(0.1666657693793443), np.float32(0.04166655455253962)
E5, E6 = np.float32(0.00836318767080905), np.float32(0.001392619435313618)
A1, A2, A3 = np.float32(0.3333333366026371), np.float32(0.1999985316596486), np.float32(0.1429617899715142)
A4, A5 = np.float32(0.1085328790044019), np.float32(0.1161216461201167)
NOUGHT = np.float32(-0.0)  # adding it changes nothing, so that LLVM leaves it out
INFINITY, NAN = np.float32(np.inf), np.float32(np.nan)
ZERO, HALF, ONE, TWO, FOUR = np.float32(0), np.float32(0.5), np.float32(1), np.float32(2), np.float32(4)
EXP_BOUND, BOUND = real(174), real(87)  # beyond them the values are constant


@njit(**OPTIONS)
def bits_of(x):
    return np.float32(x).view(np.int32)


@njit(**OPTIONS)
def number_of(bits):
    return np.int32(bits).view(np.float32)


@njit(**OPTIONS)
def expm1_near_0(r):
    square = r * r  # a tree: what a step waits for is the longest chain
    return (((E6 * r + E5) * square + (E4 * r + E3)) * r + E2) * square + r


@njit(**OPTIONS)
def atanh_rest(u):
    return (((A5 * u + A4) * u + A3) * u + A2) * u + A1
