# mypy: allow-untyped-defs
"""What differs between the number formats in which Triton kernels compute: float32."""

import triton
import triton.language as tl

REAL: tl.constexpr = tl.constexpr(tl.float32)


@triton.jit
def tanh_near(x):
    # the odd series, for |x| < 0.3: what is left out is below 2^-26 of x
    s = x * x
    p = -0.3333333333333333 + s * (
        0.13333333333333333
        + s * (-0.05396825396825397 + s * (0.021869488536155203 + s * -0.008863235529902197))
    )
    return x + x * s * p
