"""A port of few bits, bfloat16 or float16, held in its own format against the reference.

Its equations are compared in float32 with the arrays that it has, for a format of few bits hides much. Then
it is run as it is, and its outputs and states may be off by what its format and the steps make of rounding.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..programs.tolerance import relative_error
from .compare import Comparison, Row
from .implementation import Implementation
from .returned import Returned


def tolerance(dtype: str, steps: int) -> float:
    """Allowed error relative to the largest entry: 2 eps (1 + sqrt T), of rounding that adds up at random."""
    import torch

    return float(2 * torch.finfo(getattr(torch, dtype)).eps * (1 + np.sqrt(steps)))


def own_format(comparison: Comparison, low: Implementation) -> tuple[list[Row], str]:
    """Rows of outputs and states that it computes in its own format; a line of what was run, or why not."""
    import torch

    port, dtype = comparison.port, getattr(torch, low.dtype)

    def cast(value: np.ndarray) -> Any:
        return torch.as_tensor(value).to(dtype)

    held = low.put(port.arrays)
    state = {name: cast(value) for name, value in port.problem.state.items()}
    low.roles, low.missed = port.implementation.roles, []
    with torch.no_grad():
        returned = replace(port.way, implementation=low).attempt(held, cast(port.problem.x), state)
    if not isinstance(returned, Returned):
        return [], f"compared in float32 alone, for it does not run here in {low.dtype}: {returned}"
    expected, allowed = comparison.candidate.expected, tolerance(low.dtype, len(port.problem.x))
    have = {"output": returned.output} | {f"state {k}": v for k, v in returned.state.items()}
    want = {"output": expected.output} | {f"state {k}": expected.state[k] for k in returned.state}
    rows = []
    for name, value in have.items():
        error = relative_error(value.double().numpy(), want[name])
        rows.append(Row(f"{name} ({low.dtype})", error, allowed, bool(error <= allowed)))
    return rows, f"compared in float32, and as it is in {low.dtype}"


def too_coarse(rows: list[Row], dtype: str) -> str:
    """What the rows say in a line, "" where all are allowed."""
    bad = next((row for row in rows if not row.ok), None)
    if bad is None:
        return ""
    return (
        f"its equations are right in float32, but {bad.name} is off by {bad.error:.2g} of the largest entry,"
        f" {bad.tolerance:.2g} allowed: look for what overflows or loses digits in {dtype}"
    )
