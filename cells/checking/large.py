"""A right port is run on large inputs and states: a clamp shows there, and an exp that overflows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from ..programs.tolerance import relative_error
from .compare import Comparison, compared
from .length import LARGEST, moved_by_rounding
from .returned import Returned

SCALE = 128.0
SLACK = 64  # times what rounding does to the reference, for what saturates may turn on the last digit


def at_large(comparison: Comparison) -> str | None:
    """What a port does at large inputs that the reference does not, in words; None where both agree."""
    port = comparison.port
    if port.implementation.no_gradients:  # an ONNX file's functions are the runtime's: its sigmoid is clamped
        return None
    port = replace(port, trial=replace(port.trial, scale=SCALE))
    if port.implementation.library == "numpy":  # its gradients would take two runs for each entry
        port = replace(port, forward_only=True)
    returned = port.tried()
    if not isinstance(returned, Returned):
        return f"fails ({returned})"
    scaled = compared(replace(comparison.candidate, port=port))
    expected = scaled.candidate.expected
    values = (expected.output, *expected.state.values())
    if scaled.first is None or not all(np.abs(v).max(initial=0) < LARGEST for v in values):
        return None
    computed = port.computed
    lost = [name for name, value in computed.state.items() if not np.isfinite(value).all()]
    if not np.isfinite(computed.output).all() or lost:
        return f"gives no finite number ({', '.join(lost) or 'output'}), where the reference is finite"
    if bad := _not_finite(scaled):
        return f"has gradients that are not finite ({', '.join(bad)}), where the reference's are"
    return _off(scaled)


def _not_finite(scaled: Comparison) -> list[str]:
    """The gradients that alone are not finite; of others little can be said where all functions saturate."""
    computed, expected = scaled.port.computed, scaled.candidate.expected
    have = scaled.candidate.reading.read(computed.grads) if computed.grads is not None else {}
    want = {**expected.grads, "x": expected.ends["x"]}
    have |= {} if computed.d_x is None else {"x": computed.d_x}
    return [
        f"d_{name}"
        for name, value in have.items()
        if not np.isfinite(value).all() and np.isfinite(want[name]).all()
    ]


def _off(scaled: Comparison) -> str | None:
    """By how much outputs or states are off, beyond what rounding does to the cell itself."""
    own, moved = _in_own_format(scaled), moved_by_rounding(scaled.candidate)
    for row in scaled.rows:
        allowed = max(row.tolerance, SLACK * moved.get(row.name, 0.0), SLACK * own.get(row.name, 0.0))
        if not row.name.startswith("d_") and not row.error <= allowed:
            return f"is off ({row.name} by {row.error:.2g} of the largest entry)"
    return None


def _in_own_format(scaled: Comparison) -> dict[str, float]:
    """The errors of the cell's own equations, computed in the port's format."""
    candidate, port = scaled.candidate, scaled.port
    kind = getattr(torch, port.dtype)
    params = {name: torch.as_tensor(value).to(kind) for name, value in candidate.params.items()}
    state = {name: torch.as_tensor(value).to(kind) for name, value in port.problem.state.items()}
    with torch.no_grad():
        output, last = candidate.variant.unroll(params, torch.as_tensor(port.problem.x).to(kind), state)
    expected = candidate.expected
    errors = {"output": relative_error(output.double().numpy(), expected.output)}
    for name, value in last.items():
        errors[f"state {name}"] = relative_error(value.double().numpy(), expected.state[name])
    # where the equations themselves are not finite in few digits, nothing can be asked of a port
    return {name: error if error == error else np.inf for name, error in errors.items()}
