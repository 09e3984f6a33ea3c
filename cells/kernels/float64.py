"""The vocabulary in float64 for Numba: branch-free, so that LLVM vectorises loops over it.

exp and its relatives share one reduction, x = n ln 2 + r with |r| <= ln 2 / 2, and expm1 of r by its Taylor series, so that
tanh is accurate near 0 too. A NaN passes every clamp.
"""

import math
from typing import Any

import numpy as np
from numba import float64, int64, njit

OPTIONS: Any = {"error_model": "numpy", "fastmath": {"contract"}, "cache": True}
LOG2_E = np.float64(1.4426950408889634)
LN2_HIGH, LN2_LOW = np.float64(6.93145751953125e-1), np.float64(1.42860682030941723212e-6)
ROUND = np.float64(6755399441055744.0)  # 1.5 * 2^52: adding it leaves the nearest whole number in the low bits
C2, C3, C4, C5, C6, C7, C8, C9, C10, C11, C12, C13 = (np.float64(1 / math.factorial(k)) for k in range(2, 14))
ZERO, HALF, ONE, TWO, FOUR = np.float64(0), np.float64(0.5), np.float64(1), np.float64(2), np.float64(4)


@njit(**OPTIONS)
def reduced(x):
    """(2^n, expm1(r)) for x = n ln 2 + r, |x| <= 708."""
    shifted = x * LOG2_E + ROUND
    n = shifted - ROUND
    r = x - n * LN2_HIGH
    r = r - n * LN2_LOW
    bits = np.int64((np.float64(shifted).view(np.int64) << int64(52)) + int64(0x3FF0000000000000))
    p = (((((C13 * r + C12) * r + C11) * r + C10) * r + C9) * r + C8) * r + C7
    p = ((((p * r + C6) * r + C5) * r + C4) * r + C3) * r + C2
    return bits.view(np.float64), p * r * r + r


@njit(**OPTIONS)
def clamped(x, bound):
    x = bound if x > bound else x
    return -bound if x < -bound else x


@njit(**OPTIONS)
def exp(x):
    # in two halves, so that what over- or underflows does so by itself
    power, rest = reduced(clamped(x, float64(1416)) * HALF)
    root = power * rest + power
    return root * root


@njit(**OPTIONS)
def sigmoid(x):
    power, rest = reduced(clamped(-x, float64(708)))
    return ONE / (ONE + (power * rest + power))


@njit(**OPTIONS)
def tanh(x):
    power, rest = reduced(clamped(TWO * x, float64(80)))
    e = power * rest + (power - ONE)
    return e / (e + TWO)


@njit(**OPTIONS)
def sech2(x):
    e = exp(-TWO * absolute(x))
    return FOUR * e / ((ONE + e) * (ONE + e))


@njit(**OPTIONS)
def softplus(x):
    return relu(x) + float64(math.log1p(exp(-absolute(x))))


@njit(**OPTIONS)
def logsigmoid(x):
    return -softplus(-x)


@njit(**OPTIONS)
def log(x):
    return float64(math.log(x))


@njit(**OPTIONS)
def sqrt(x):
    return float64(math.sqrt(x))


@njit(**OPTIONS)
def sin(x):
    return float64(math.sin(x))


@njit(**OPTIONS)
def cos(x):
    return float64(math.cos(x))


@njit(**OPTIONS)
def relu(x):
    return ZERO if x < ZERO else x


@njit(**OPTIONS)
def absolute(x):
    return -x if x < ZERO else x


@njit(**OPTIONS)
def positive(x):
    return ONE if x > ZERO else ZERO


@njit(**OPTIONS)
def maximum(a, b):
    larger = a if a > b else b
    return a + b if a != a or b != b else larger


@njit(**OPTIONS)
def minimum(a, b):
    smaller = a if a < b else b
    return a + b if a != a or b != b else smaller


@njit(**OPTIONS)
def tie(a, b):
    above = ONE if a > b else ZERO
    return HALF if a == b else above
