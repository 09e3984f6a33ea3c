"""What plain arithmetic of a port's own dtype makes of the cell: a right port may be as far off.

The usual tolerance knows the number of steps. It does not know that a sum has 4,000 terms, nor that of a unit
that saturates the derivative is what rounding leaves of 1 - h^2.
"""

from __future__ import annotations

import numpy as np

from ..programs.formats import FORMATS
from ..programs.tolerance import nudged, plain_by_name, relative_error
from .port import Port
from .variants import Arrays, Values, Variant, by_program

TIMES = 8  # that the inputs are moved by half an eps


def plain_tolerances(port: Port, variant: Variant, params: Arrays, values: Values) -> dict[str, float]:
    """By the name of a row, the error that is allowed by `programs.tolerance.plain`.

    `values` are those of the variant with these params, in float64.
    """
    dtype = port.dtype
    problem, returned = port.problem, port.computed.state
    d_state = {k: d if k in returned else np.zeros_like(d) for k, d in problem.d_state.items()}
    rng = np.random.default_rng(0)

    def off(array: np.ndarray) -> np.ndarray:
        return nudged(array, FORMATS[dtype].eps, rng, dtype)

    def off_all(arrays: Arrays) -> Arrays:
        return {name: off(value) for name, value in arrays.items()}

    expected = named(values)
    errors: dict[str, list[float]] = {name: [] for name in expected}
    for _ in range(TIMES):
        given = off_all(params), off(problem.x), off_all(problem.state)
        moved = by_program(variant.cell, *given, problem.d_output, d_state, dtype)
        for name, value in named(moved).items():
            errors[name].append(relative_error(value, expected[name]))
    return plain_by_name(errors, expected, dtype)


def named(values: Values) -> dict[str, np.ndarray]:
    """All values by the name of their row."""
    states = {f"state {k}": v for k, v in values.state.items()}
    return {"output": values.output} | states | {f"d_{k}": v for k, v in (values.grads | values.ends).items()}
