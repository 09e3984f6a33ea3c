# mypy: allow-untyped-defs, allow-incomplete-defs
# All from the first function on is printed into kernels, where Numba finds the types.
"""The vocabulary for Numba: branch-free, so that LLVM vectorises loops over it.

exp and its relatives share one reduction, x = n ln 2 + r with |r| <= ln 2 / 2, and expm1 of r by its Taylor
series, so that tanh is accurate near 0 too. A NaN passes every clamp. Printed kernels put their own dtype's
constants before this text; the import makes it readable and checkable by itself, in float32.
"""

import math

from .float32 import (
    EXP_BOUND,
    FOUR,
    HALF,
    ONE,
    OPTIONS,
    SIGMOID_BOUND,
    TANH_BOUND,
    TWO,
    ZERO,
    njit,
    real,
    reduced,
)


@njit(**OPTIONS)
def clamped(x, bound):
    x = bound if x > bound else x
    return -bound if x < -bound else x


@njit(**OPTIONS)
def exp(x):
    # in two halves, so that what over- or underflows does so by itself
    power, rest = reduced(clamped(x, EXP_BOUND) * HALF)
    root = power * rest + power
    return root * root


@njit(**OPTIONS)
def sigmoid(x):
    power, rest = reduced(clamped(-x, SIGMOID_BOUND))
    return ONE / (ONE + (power * rest + power))


@njit(**OPTIONS)
def tanh(x):
    power, rest = reduced(clamped(TWO * x, TANH_BOUND))
    e = power * rest + (power - ONE)
    return e / (e + TWO)


@njit(**OPTIONS)
def sech2(x):
    e = exp(-TWO * absolute(x))
    return FOUR * e / ((ONE + e) * (ONE + e))


@njit(**OPTIONS)
def softplus(x):
    return relu(x) + real(math.log1p(exp(-absolute(x))))


@njit(**OPTIONS)
def logsigmoid(x):
    return -softplus(-x)


@njit(**OPTIONS)
def log(x):
    return real(math.log(x))


@njit(**OPTIONS)
def sqrt(x):
    return real(math.sqrt(x))


@njit(**OPTIONS)
def sin(x):
    return real(math.sin(x))


@njit(**OPTIONS)
def cos(x):
    return real(math.cos(x))


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
def select(c, a, b):
    return a if c > ZERO else b


@njit(**OPTIONS)
def tie(a, b):
    above = ONE if a > b else ZERO
    return HALF if a == b else above
