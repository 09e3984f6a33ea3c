"""The vocabulary in float32 for Numba: branch-free, so that LLVM vectorises loops over it.

exp and its relatives share one reduction, x = n ln 2 + r with |r| <= ln 2 / 2, and expm1 of r by its Taylor series, so that
tanh is accurate near 0 too. A NaN passes every clamp.
"""

import math
from typing import Any

import numpy as np
from numba import float32, int32, njit

OPTIONS: Any = {"error_model": "numpy", "fastmath": {"contract"}, "cache": True}
LOG2_E = np.float32(1.4426950408889634)
LN2_HIGH, LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
ROUND = np.float32(12582912.0)  # 1.5 * 2^23: adding it leaves the nearest whole number in the low bits
C2, C3, C4 = np.float32(1 / 2), np.float32(1 / 6), np.float32(1 / 24)
C5, C6, C7 = np.float32(1 / 120), np.float32(1 / 720), np.float32(1 / 5040)
ZERO, HALF, ONE, TWO, FOUR = np.float32(0), np.float32(0.5), np.float32(1), np.float32(2), np.float32(4)


@njit(**OPTIONS)
def reduced(x):
    """(2^n, expm1(r)) for x = n ln 2 + r, |x| <= 87."""
    shifted = x * LOG2_E + ROUND
    n = shifted - ROUND
    r = x - n * LN2_HIGH
    r = r - n * LN2_LOW
    bits = np.int32((np.float32(shifted).view(np.int32) << int32(23)) + int32(0x3F800000))
    p = ((((C7 * r + C6) * r + C5) * r + C4) * r + C3) * r + C2
    return bits.view(np.float32), p * r * r + r


@njit(**OPTIONS)
def clamped(x, bound):
    x = bound if x > bound else x
    return -bound if x < -bound else x


@njit(**OPTIONS)
def exp(x):
    # in two halves, so that what over- or underflows does so by itself
    power, rest = reduced(clamped(x, float32(174)) * HALF)
    root = power * rest + power
    return root * root


@njit(**OPTIONS)
def sigmoid(x):
    power, rest = reduced(clamped(-x, float32(87)))
    return ONE / (ONE + (power * rest + power))


@njit(**OPTIONS)
def tanh(x):
    power, rest = reduced(clamped(TWO * x, float32(40)))
    e = power * rest + (power - ONE)
    return e / (e + TWO)


@njit(**OPTIONS)
def sech2(x):
    e = exp(-TWO * absolute(x))
    return FOUR * e / ((ONE + e) * (ONE + e))


@njit(**OPTIONS)
def softplus(x):
    return relu(x) + float32(math.log1p(exp(-absolute(x))))


@njit(**OPTIONS)
def logsigmoid(x):
    return -softplus(-x)


@njit(**OPTIONS)
def log(x):
    return float32(math.log(x))


@njit(**OPTIONS)
def sqrt(x):
    return float32(math.sqrt(x))


@njit(**OPTIONS)
def sin(x):
    return float32(math.sin(x))


@njit(**OPTIONS)
def cos(x):
    return float32(math.cos(x))


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
