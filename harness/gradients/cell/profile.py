"""How far back one loss term reaches: the gradient's norm by lag, in a form that can neither over- nor
underflow.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import ceil, sqrt
from typing import Any

import numpy as np

from cellbench import cells
from cellbench.cells import GatedCell
from cellbench.cells.backends.numpy import NumpyBackend
from cellbench.cells.contract import real_floating

from ..rate import Rate, fit
from .linear import Elementwise, dense, is_wide, joint, split_joint
from .linearise import linearise, underflows
from .path import WIDE, check, finite, forward_path, norms, states_of

Arrays = dict[str, Any]
STATES = (
    2**26
)  # bytes of states that are kept at once; what is before them is computed again from a checkpoint
COEFFICIENTS = 2**22  # bytes of Jacobians at once
TAPED = 256  # steps of a written step that are kept at once


@dataclass(frozen=True)
class LagProfile:
    """Of L = sum(d_output * output at the last step). Lags run from 0 (the last state) to T (the first);
    samples side by side.

    log_norm            (T + 1, B): natural log of |dL/d(joint state)|
    log_norm_by_state   {state: (T + 1, B)}; -inf also where a state's share of the joint norm is below 1e-300
    transport           (T + 1, B): norm over that of the first lag at which the state carries anything (0, or 1 where the
                        output is no state); below 1e-308 it is 0, log_norm is not
    rate                nats a step with its interval and model
    half_life           steps in which the norm halves; None where there is no single rate, or no decay
    first_zero          the lag from which on every sample's gradient is exactly 0 by structure; None where there is none
    """

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
        return (
            np.log(2) / -self.rate.value if self.rate.model == "exponential" and self.rate.value < 0 else None
        )

    @property
    def first_zero(self) -> int | None:
        start = int(np.isneginf(self.log_norm[0]).all())
        zero = np.flatnonzero(np.isneginf(self.log_norm[start:]).all(1))
        return int(zero[0]) + start if len(zero) else None


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
    """Norm of dL/d(joint state) by lag for a loss at the last step. x (T, B, I), state {name: (B, ...)},
    d_output (B, O) or ones.

    numpy in float64: the adjoint from pre-activations, scaled to norm 1 at every step, exact to e^-10000 and
    beyond; NaN for a sample whose forward overflows. x may be a memory map, or an iterator of blocks of
    steps; the states of a long sequence are computed twice, from checkpoints, and kept in 64 MB (more only
    for sqrt(T) of a large batch). Any other backend or dtype: the plain trajectory of that program, as it
    over- and underflows. Raises ValueError for T = 1, parameters that are not finite, and a backend without a
    trajectory.
    """
    x = np.concatenate([np.asarray(block) for block in x]) if isinstance(x, Iterator) else x
    x = x if hasattr(x, "shape") else np.asarray(x)
    check(cell, params, x)
    if (backend, dtype) == ("numpy", "float64"):
        logs, by_state = _exact(cell, params, x, state, d_output)
    else:
        logs, by_state = _traced(cell, params, x, state, d_output, backend, dtype)
    names = dict(zip(cell.states, by_state, strict=True))
    return LagProfile(np.arange(len(logs)), logs, names)


def _exact(cell, params, x, state, d_output):
    steps, batch = x.shape[:2]
    length = _stretch(cell, params, steps, batch)
    starts = range(0, steps, length)
    marks = [state]
    for start in starts[:-1]:
        program = NumpyBackend().program(cell, params, length, batch, "float64", "cpu", "forward")
        program.start(np.asarray(x[start : start + length]), marks[-1])
        marks.append({k: v.copy() for k, v in program.last.items()})
    logs, by_state = np.empty((steps + 1, batch)), np.empty((steps + 1, len(cell.states), batch))
    adjoint: Adjoint | None = None
    held = np.ones(batch, bool)
    for start, mark in zip(reversed(starts), reversed(marks), strict=True):
        part = np.asarray(x[start : start + length])
        program, path = (
            forward_path(cell, params, part, mark)
            if cell.written_out
            else (None, states_of(cell, params, part, mark))
        )
        count, held = len(part), held & finite(path)
        if adjoint is None:
            before = dict(zip(cell.states, (s[-2] for s in path), strict=True))
            adjoint = Adjoint.of_output(cell, params, part[-1:], before, d_output, logs, by_state)
            count -= 1
        if program is None:
            adjoint.through_equations(params, part[:count], path)
        else:
            adjoint.through_tape(program, count, underflows(cell, params, part, program, path))
    logs[:, ~held] = by_state[:, :, ~held] = np.nan
    return logs, np.moveaxis(by_state, 1, 0)


def _stretch(cell: GatedCell, params: Arrays, steps: int, batch: int) -> int:
    """How many steps' states are kept at once; the checkpoints between them are fewer than sqrt(T), or take
    less memory.
    """
    if cell.written_out:
        return min(steps, max(TAPED, ceil(sqrt(steps))))
    each = 8 * len(cell.states) * batch * cell.units(cell.sizes(params)[1])
    return min(steps, max(STATES // each, ceil(sqrt(steps))))


class Adjoint:
    """dL/d(joint state), scaled to norm 1 a sample, on its way back; its norms go into logs and by_state."""

    def __init__(self, cell: GatedCell, logs: np.ndarray, by_state: np.ndarray) -> None:
        self.cell, self.logs, self.by_state, self.lag = cell, logs, by_state, 0
        self.d: list[np.ndarray] = []
        self.log_scale = np.zeros(logs.shape[1])

    @classmethod
    def of_output(cls, cell, params, x, before, d_output, logs, by_state):
        """At lag 1: the last step, of x (1, B, I) from the states before, takes what its output gives past
        the state as well.
        """
        program, path = forward_path(cell, params, x, before)
        if underflows(cell, params, x, program, path):
            program, path = forward_path(cell, params, x, before, WIDE)
        d_y = cotangent(d_output, program.batch, program.output_size)[None]
        outputs = [d[0] for d in program.pull_outputs(np.asarray(d_y, program.dtype))[0]]
        made = cls(cell, logs, by_state)
        made.write(program.with_outputs(0, outputs, tuple(np.zeros_like(s[-1]) for s in path)), scale=False)
        made.write(program.pull_step(0, outputs, made.d)[0])
        return made

    def write(self, d: tuple[np.ndarray, ...], scale: bool = True) -> None:
        """Norms at this lag; then d is scaled to norm 1 (not at lag 0, where the output's own share still
        needs it).
        """
        norm = norms(joint(d))
        with np.errstate(divide="ignore"):
            self.logs[self.lag] = self.log_scale + np.log(norm)
            for k, part in enumerate(d):
                self.by_state[self.lag, k] = self.log_scale + np.log(norms(part.reshape(len(part), -1)))
        unit = np.where((norm > 0) & np.isfinite(norm) & scale, norm, 1)
        self.d = [part / unit.reshape(-1, *[1] * (part.ndim - 1)) for part in d]
        self.log_scale = (self.log_scale + np.log(unit)).astype(np.float64)
        self.lag += 1

    def through_tape(self, program: Any, count: int, wide: bool) -> None:
        """Over the first `count` steps of a program that has run, last first."""
        if wide:
            program = forward_path(self.cell, program.params, program._x, program._state, WIDE)[0]
        self.d = [d.astype(program.dtype) for d in self.d]
        silent = [np.zeros((program.batch, program.output_size), program.dtype)]
        for t in reversed(range(count)):
            self.write(program.pull_step(t, silent, tuple(self.d))[0])

    def through_equations(self, params: Arrays, x: np.ndarray, path: list[np.ndarray]) -> None:
        """Over all steps of x (T, B, I), last first."""
        states, recurrent, width = len(path), len(self.cell.recurrent), path[0][0].size
        block = max(1, COEFFICIENTS // (8 * states * (states + recurrent) * width))
        for start in reversed(range(0, len(x), block)):
            part = slice(start, min(start + block, len(x)))
            jacobians = linearise(self.cell, params, x[part], [s[part.start : part.stop + 1] for s in path])
            assert isinstance(jacobians, Elementwise)
            if is_wide(jacobians):
                self._slowly(jacobians)
            else:
                self._compiled(jacobians)

    def _slowly(self, jacobians: Elementwise) -> None:
        shapes = [d.shape[1:] for d in self.d]
        for t in reversed(range(jacobians.steps)):
            self.write(tuple(split_joint(jacobians.pull(t, joint(self.d)), shapes)))

    def _compiled(self, jacobians: Elementwise) -> None:
        from .loops import pull_through

        rows = slice(self.lag, self.lag + jacobians.steps)
        d = np.stack(self.d).astype(np.float64)
        weight = np.zeros((0, 0)) if jacobians.weight is None else dense(self.cell, jacobians.weight)
        pull_through(
            jacobians.direct,
            jacobians.through,
            weight,
            np.array(jacobians.fed),
            d,
            self.log_scale,
            self.logs[rows],
            self.by_state[rows],
        )
        self.d = list(d)
        self.lag += jacobians.steps


def cotangent(d_output: Any, batch: int, width: int) -> np.ndarray:
    """d_output (B, O) in float64, ones where it is None. Raises ValueError for another shape, or entries that
    are not finite.
    """
    if d_output is None:
        return np.ones((batch, width))
    given = np.asarray(real_floating("d_output", d_output), np.float64)
    if given.shape != (batch, width):
        raise ValueError(f"d_output is {given.shape}; it must be (B, O) = {(batch, width)}")
    if not np.isfinite(given).all():
        raise ValueError(f"d_output has {int((~np.isfinite(given)).sum())} entries that are not finite")
    return given


def _traced(cell, params, x, state, d_output, backend, dtype):
    """Log norms of the trajectory that another program computes."""
    from .loops import log_norms

    steps, batch = x.shape[:2]
    program = cells.backend(backend).prepare(cell, params, steps=steps, batch=batch, dtype=dtype)
    if reason := program.untraceable():
        raise ValueError(reason)
    program.states_only = True
    program.start(x, state)
    d_y = np.zeros((steps, batch, program.output_size), dtype)
    d_y[-1] = cotangent(d_output, batch, program.output_size)
    path = program.pull_back(d_y, trace=True).trajectory
    assert path is not None
    by_state = np.empty((len(cell.states), steps + 1, batch))
    for logs, name in zip(by_state, cell.states, strict=True):
        array = path[name] if isinstance(path[name], np.ndarray) else program.host(path[name])
        log_norms(array.reshape(steps + 1, batch, -1), logs)
    by_state = by_state[:, ::-1]
    return 0.5 * np.logaddexp.reduce(2 * by_state, axis=0), by_state
