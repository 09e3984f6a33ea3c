# mypy: allow-untyped-defs
"""What differs between the number formats in which Triton kernels compute: float64."""

import triton
import triton.language as tl

REAL: tl.constexpr = tl.constexpr(tl.float64)


@triton.jit
def tanh_near(x):
    # the odd series, for |x| < 0.3: what is left out is below 2^-57 of x
    s = x * x
    p = -0.00023912911424355248 + s * (9.691537956929451e-05 + s * -3.927832388331683e-05)
    p = -0.0014558343870513183 + s * (0.000590027440945586 + s * p)
    p = -0.008863235529902197 + s * (0.003592128036572481 + s * p)
    p = -0.05396825396825397 + s * (0.021869488536155203 + s * p)
    p = -0.3333333333333333 + s * (0.13333333333333333 + s * p)
    return x + x * s * p
