# mypy: allow-untyped-defs, allow-incomplete-defs
# All from the first function on is printed into kernels, where Numba finds the types.
"""The vocabulary for Numba: branch-free, so that LLVM vectorises loops over it.

exp and its relatives share one reduction, x = n ln 2 + r with |r| <= ln 2 / 2, and a series of expm1(r), so
that tanh is accurate near 0 too; log and its relatives share one of atanh. A NaN passes every clamp. Printed
kernels put their own dtype's constants before this text; the import makes it readable and checkable by
itself, in float32.
"""

import math

from .float32 import (
    BOUND,
    EXP_BOUND,
    FOUR,
    GROWN,
    GROWTH,
    HALF,
    INFINITY,
    LN2,
    LN2_HIGH,
    LN2_LOW,
    LOG2_E,
    MANTISSA,
    NAN,
    ONE,
    OPTIONS,
    ROOT_HALF,
    ROUND,
    TINY,
    TWO,
    ZERO,
    atanh_rest,
    bits_of,
    expm1_near_0,
    njit,
    number_of,
    real,
    whole,
)


@njit(**OPTIONS)
def clamped(x, bound):
    x = bound if x > bound else x
    return -bound if x < -bound else x


@njit(**OPTIONS)
def power_of_2(shifted):
    """2^n, of n ROUND-ed into the low bits, which hold it as an exponent."""
    return number_of(bits_of(shifted) << MANTISSA)


@njit(**OPTIONS)
def reduced(x):
    """(2^n, expm1(r)) for x = n ln 2 + r, |x| <= BOUND."""
    shifted = x * LOG2_E + ROUND
    n = shifted - ROUND
    return power_of_2(shifted), expm1_near_0((x - n * LN2_HIGH) - n * LN2_LOW)


@njit(**OPTIONS)
def exp(x):
    # in two halves, so that what over- or underflows does so by itself
    power, rest = reduced(clamped(x, EXP_BOUND) * HALF)
    root = power * rest + power
    return root * root


@njit(**OPTIONS)
def sigmoid(x):
    power, rest = reduced(clamped(x, BOUND))
    e = power * rest + power
    return e / (ONE + e)


@njit(**OPTIONS)
def tanh(x):
    twice = clamped(x + x, BOUND)
    shifted = twice * LOG2_E + ROUND
    # one product: where n is large, so that its rounding counts, tanh is flat
    rest = expm1_near_0(twice - (shifted - ROUND) * LN2)
    power = power_of_2(shifted)
    e = power * rest + (power - ONE)
    return e / (e + TWO)


@njit(**OPTIONS)
def sech2(x):
    e = exp(-TWO * absolute(x))
    return FOUR * e / ((ONE + e) * (ONE + e))


@njit(**OPTIONS)
def softplus(x):
    # log(1 + z) = 2 atanh(z / (2 + z)), of z <= 1
    z = exp(-absolute(x))
    s = z / (TWO + z)
    twice = s + s
    u = s * s
    return relu(x) + (twice * (u * atanh_rest(u)) + twice)


@njit(**OPTIONS)
def logsigmoid(x):
    return -softplus(-x)


@njit(**OPTIONS)
def log(x):
    # x = 2^n m, 1/2 <= m^2 < 2; log m = 2 atanh((m - 1) / (m + 1))
    small = x < TINY
    bits = bits_of(x * GROWN if small else x)
    n = whole(whole(bits - ROOT_HALF) >> MANTISSA)
    m = number_of(bits - whole(n << MANTISSA))
    n = real(n) - (GROWTH if small else ZERO)
    s = (m - ONE) / (m + ONE)
    twice = s + s
    u = s * s
    value = n * LN2_HIGH + (twice + (twice * (u * atanh_rest(u)) + n * LN2_LOW))
    value = value if x > ZERO else NAN if x < ZERO else -INFINITY
    value = value if x < INFINITY else x
    return value if x == x else x


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
