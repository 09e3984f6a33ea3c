# mypy: allow-untyped-defs, allow-incomplete-defs
"""The vocabulary for Triton: what a printed kernel calls is printed into it.

Written so that Triton's interpreter and its compiler agree: no libdevice, and no Python branch on a tensor. A
NaN passes everything. Printed kernels put the file of their own number format before this text.
"""

import triton
import triton.language as tl

from .float32 import REAL, tanh_near


@triton.jit
def real(value: tl.constexpr):
    return tl.full((), value, REAL)


@triton.jit
def exp(x):
    return tl.exp(x)


@triton.jit
def log(x):
    return tl.log(x)


@triton.jit
def sqrt(x):
    return tl.sqrt(x)


@triton.jit
def sin(x):
    return tl.sin(x)


@triton.jit
def cos(x):
    return tl.cos(x)


@triton.jit
def absolute(x):
    return tl.where(x < 0, -x, x)


@triton.jit
def relu(x):
    return tl.where(x < 0, 0.0, x)


@triton.jit
def positive(x):
    return tl.where(x > 0, 1.0, 0.0)


@triton.jit
def maximum(a, b):
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def minimum(a, b):
    return tl.minimum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def select(c, a, b):
    return tl.where(c > 0, a, b)


@triton.jit
def tie(a, b):
    return tl.where(a == b, 0.5, tl.where(a > b, 1.0, 0.0))


@triton.jit
def sigmoid(x):
    return 1.0 / (1.0 + tl.exp(-x))


@triton.jit
def tanh(x):
    # e^-2|x| never overflows; near 0 a series, for 1 - e would cancel there
    e = tl.exp(-2.0 * absolute(x))
    far = (1.0 - e) / (1.0 + e)
    return tl.where(absolute(x) < 0.3, tanh_near(x), tl.where(x < 0, -far, far))


@triton.jit
def sech2(x):
    e = tl.exp(-2.0 * absolute(x))
    return 4.0 * e / ((1.0 + e) * (1.0 + e))


@triton.jit
def softplus(x):
    # log(1 + e) as Kahan has it: what rounding takes from e when 1 is added, the quotient gives back
    e = tl.exp(-absolute(x))
    u = 1.0 + e
    return relu(x) + tl.where(u == 1.0, e, tl.log(u) * (e / (u - 1.0)))


@triton.jit
def logsigmoid(x):
    return -softplus(-x)
