"""How far back one loss term reaches: the gradient's norm by lag, in logarithms that cannot overflow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import ceil, sqrt
from typing import Any

import numpy as np

from cellbench import cells
from cellbench.cells import GatedCell
from cellbench.cells.backends.numpy import NumpyBackend, Reference
from cellbench.cells.display import Displayed
from cellbench.cells.programs.joint import JointCell

from ..rate import Rate, fit
from .adjoint import Adjoint, cotangent
from .by_layer import backwards
from .given import of_joint_state, on_arrays
from .linearise import underflows
from .path import check, finite, forward_path, states_of

Arrays = dict[str, Any]
STATES = 2**26  # bytes of states that are kept at once; those before are computed again from a checkpoint
STEPWISE = ("numpy", "torch")  # backends that can take a step of all layers of a stack
TAPED = 256  # steps of a written step that are kept at once


@dataclass(frozen=True, repr=False)
class LagProfile(Displayed):
    """The gradient of L = sum(d_output * last output) by lag, from 0 (the last state) to T (the first).

    log_norm            (T + 1, B): natural log of |dL/d(joint state)|
    log_norm_by_state   {state: (T + 1, B)}; -inf also where a state's share of the joint norm is below 1e-300
    transport           (T + 1, B): norm over that of the first lag at which the state carries anything (0, or
                        1 where the output is no state); below 1e-308 it is 0, log_norm is not
    rate                nats a step with its interval and model
    half_life           steps in which the norm halves; None where there is no single rate, or no decay
    first_zero          lag from which on all gradients are exactly 0 by structure; None where there is none
    """

    axes = {"lag": ("log_norm", "log_norm_by_state")}
    derived = ("rate", "half_life", "first_zero")

    lag: np.ndarray
    log_norm: np.ndarray
    log_norm_by_state: dict[str, np.ndarray]

    @cached_property
    def rate(self) -> Rate:
        return fit(self.log_norm)

    @property
    def transport(self) -> np.ndarray:
        start = int(np.isneginf(self.log_norm[0]).all())
        with np.errstate(over="ignore", invalid="ignore"):
            return np.exp(self.log_norm - self.log_norm[start])

    @property
    def half_life(self) -> float | None:
        decays = self.rate.model == "exponential" and self.rate.value < 0
        return np.log(2) / -self.rate.value if decays else None

    @property
    def first_zero(self) -> int | None:
        start = int(np.isneginf(self.log_norm[0]).all())
        zero = np.flatnonzero(np.isneginf(self.log_norm[start:]).all(1))
        return int(zero[0]) + start if len(zero) else None


@on_arrays
def lag_profile(
    cell: GatedCell,
    params: Arrays,
    x: Any,
    *,
    state: Arrays | None = None,
    d_output: Any = None,
    backend: str = "numpy",
    dtype: str = "float64",
) -> LagProfile:
    """Norm of dL/d(joint state) by lag for a loss at the last step, of each direction at its own end.

    x (T, B, I), state {name: (B, ...)}, d_output (B, O) or ones. x may be a memory map, or an iterator of
    blocks of steps.

    numpy in float64: the adjoint from pre-activations, scaled to norm 1 at every step, exact to e^-10000 and
    beyond; NaN for a sample whose forward overflows. The states of a long sequence are computed twice, from
    checkpoints, and kept in 64 MB (more only for sqrt(T) of a large batch). Any other backend or dtype: the
    plain trajectory of that program, as it over- and underflows.

    Raises ValueError for T = 1, parameters that are not finite, and a backend without a trajectory.
    """
    x = np.concatenate([np.asarray(block) for block in x]) if isinstance(x, Iterator) else x
    x = x if hasattr(x, "shape") else np.asarray(x)
    check(cell, params, x)
    if (backend, dtype) != ("numpy", "float64"):
        return _followed(cell, params, x, state=state, d_output=d_output, traced_by=(backend, dtype))
    follow = _by_layer if cell.bidirectional else _followed
    return follow(cell, params, x, state=state, d_output=d_output)


def _by_layer(cell: GatedCell, params: Arrays, x: Any, *, state: Arrays | None, d_output: Any) -> LagProfile:
    """The profile of both directions, from the adjoint of each layer."""
    every = list(backwards(cell, params, x, state, d_output))
    by_state = {
        name + back.reading.suffix: logs
        for back in every
        for name, logs in zip(cell.states, back.logs, strict=True)
    }
    lost = ~np.logical_and.reduce([back.held for back in every])
    for logs in by_state.values():
        logs[:, lost] = np.nan
    total = 0.5 * np.logaddexp.reduce([2 * logs for logs in by_state.values()])
    return LagProfile(np.arange(len(total)), total, by_state)


@of_joint_state
def _followed(
    cell: GatedCell,
    params: Arrays,
    x: Any,
    *,
    state: Arrays | None,
    d_output: Any,
    traced_by: tuple[str, str] | None = None,
) -> LagProfile:
    """The profile of the joint state, by the adjoint, or traced by a backend in a dtype."""
    if traced_by is None:
        logs, by_state = _exact(cell, params, x, state, d_output)
    else:
        logs, by_state = _traced(cell, params, x, state, d_output, *traced_by)
    names = dict(zip(cell.states, by_state, strict=True))
    return LagProfile(np.arange(len(logs)), logs, names)


def _exact(
    cell: GatedCell, params: Arrays, x: Any, state: Arrays | None, d_output: Any
) -> tuple[np.ndarray, np.ndarray]:
    """(log norms (T + 1, B), the same by state), stretch by stretch from the last."""
    steps, batch = x.shape[:2]
    length = _stretch(cell, params, steps, batch)
    starts = range(0, steps, length)
    checkpoints = [state]
    for start in starts[:-1]:
        program = NumpyBackend().program(cell, params, length, batch, "float64", "cpu", "forward")
        program.start(np.asarray(x[start : start + length]), checkpoints[-1])
        checkpoints.append({k: v.copy() for k, v in program.last.items()})
    logs, by_state = np.empty((steps + 1, batch)), np.empty((steps + 1, len(cell.states), batch))
    adjoint: Adjoint | None = None
    held = np.ones(batch, bool)
    for start, checkpoint in zip(reversed(starts), reversed(checkpoints), strict=True):
        stretch = np.asarray(x[start : start + length])
        taped: Reference | None = None
        if not cell.pointwise:
            taped, path = forward_path(cell, params, stretch, checkpoint)
        else:
            path = states_of(cell, params, stretch, checkpoint)
        count, held = len(stretch), held & finite(path)
        if adjoint is None:
            before = dict(zip(cell.states, (s[-2] for s in path), strict=True))
            adjoint = Adjoint.of_output(cell, params, stretch[-1:], before, d_output, logs, by_state)
            count -= 1  # the last step has been taken with the output
        if taped is None:
            adjoint.through_equations(params, stretch[:count], path)
        else:
            adjoint.through_tape(taped, count, underflows(cell, params, stretch, taped, path))
    logs[:, ~held] = by_state[:, :, ~held] = np.nan
    return logs, np.moveaxis(by_state, 1, 0)


def _stretch(cell: GatedCell, params: Arrays, steps: int, batch: int) -> int:
    """How many steps' states are kept at once; with sqrt(T) of them, there are no more checkpoints."""
    if not cell.pointwise:
        return min(steps, max(TAPED, ceil(sqrt(steps))))
    each = 8 * len(cell.states) * batch * cell.units(cell.sizes(params)[1])
    return min(steps, max(STATES // each, ceil(sqrt(steps))))


def _traced(
    cell: GatedCell, params: Arrays, x: Any, state: Arrays | None, d_output: Any, backend: str, dtype: str
) -> tuple[np.ndarray, np.ndarray]:
    """Log norms of the trajectory that another program computes."""
    from .loops import log_norms

    steps, batch = x.shape[:2]
    of_backend = cells.backend(backend)
    if isinstance(cell, JointCell) and backend not in STEPWISE:
        raise ValueError(
            f"backend {backend} computes cell {cell.name!r} with {cell.options} layer by layer, so it has no"
            f" trajectory of the joint state; {' and '.join(STEPWISE)} have one"
        )
    program = of_backend.prepare(cell, params, steps=steps, batch=batch, dtype=dtype)
    if reason := program.untraceable():
        raise ValueError(reason)
    program.states_only = True
    program.start(x, state)
    d_y = np.zeros((steps, batch, program.output_size))
    d_y[-1] = cotangent(d_output, batch, program.output_size)
    path = program.pull_back(d_y, trace=True).trajectory
    assert path is not None
    by_state = np.empty((len(cell.states), steps + 1, batch))
    for logs, name in zip(by_state, cell.states, strict=True):
        array = path[name] if isinstance(path[name], np.ndarray) else program.host(path[name])
        array = array.astype(np.float32) if array.dtype == np.float16 else array  # Numba has no float16
        log_norms(array.reshape(steps + 1, batch, -1), logs)
    by_state = by_state[:, ::-1]
    return 0.5 * np.logaddexp.reduce(2 * by_state, axis=0), by_state
