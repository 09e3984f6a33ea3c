"""A right port in float32 is run in float64 too, where a constant that is a little off shows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..programs.tolerance import tolerance
from .compare import Comparison, compared
from .returned import Returned

INSIDE = 1 / 8  # of float32's tolerance: what rounding to float32 somewhere inside may leave


def in_float64(comparison: Comparison) -> Comparison | None:
    """The comparison in float64 where it deviates by more than float32 would; None where it does not.

    None, too, for what is no torch module in float32, or does not run in float64.
    """
    port = comparison.port
    if port.implementation.in_float64 is None:
        return None
    try:
        implementation = port.implementation.in_float64()
    except Exception:  # somebody's module, which may refuse the format
        return None
    implementation.roles = port.implementation.roles
    exact = replace(port, implementation=implementation, way=replace(port.way, implementation=implementation))
    vars(exact)["arrays"] = port.arrays
    returned = exact.tried()
    if not isinstance(returned, Returned) or not str(returned.output.dtype).endswith("float64"):
        return None
    result = compared(replace(comparison.candidate, port=exact))
    allowed = INSIDE * tolerance("float32", len(port.problem.x))
    off = [row for row in result.rows if not row.ok and not row.error <= allowed]
    return result if off and np.isfinite(off[0].error) else None
