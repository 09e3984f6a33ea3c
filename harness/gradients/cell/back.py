"""The scaled adjoint of a loss at the last step, with each step's gradients of its input and parameters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from cellbench.cells import GatedCell
from cellbench.cells.backends.numpy import NumpyProgram, Reference

from .adjoint import cotangent
from .linear import joint
from .linearise import underflows
from .path import WIDE, check, forward_path, norms

Arrays = dict[str, Any]


@dataclass(frozen=True)
class StepBack:
    """One step on the way back. Everything is to be multiplied by exp(log_scale), sample by sample.

    d_wx, d_wh, d_unit   cotangents of the step's products and vectors, lists of (B, units)
    d_x, d_matrices      of a step that is written out instead: (B, I), and {name: array, summed over samples}
    """

    t: int
    log_scale: np.ndarray
    d_wx: list[np.ndarray]
    d_wh: list[np.ndarray]
    d_unit: list[np.ndarray]
    d_x: np.ndarray | None = None
    d_matrices: dict[str, np.ndarray] | None = None


def step_back(program: Reference, t: int, log_scale: np.ndarray, rest: Any) -> StepBack:
    """What pull_step left of step t beside the states."""
    if isinstance(program, NumpyProgram):
        return StepBack(t, log_scale, *rest)
    return StepBack(
        t, log_scale, [], [], [], rest[0], dict(zip(program.products.used, rest[1:], strict=True))
    )


@dataclass(frozen=True)
class Backward:
    """A reference program after its forward, and the steps back.

    d_state, outputs   cotangents after the last step
    d_x_last, local    gradients of the last x and of arrays {name: gradient} past the recurrence, through the
                       output's side
    """

    program: Reference
    path: list[np.ndarray]
    d_state: tuple[np.ndarray, ...]
    outputs: list[np.ndarray]
    d_x_last: Any
    local: Arrays

    def first(self) -> np.ndarray:
        """dL/d(joint state before the last step), (B, n)."""
        return joint(self.program.pull_step(self.program.steps - 1, self.outputs, self.d_state)[0])

    def steps(self) -> Iterator[StepBack]:
        """Last step first."""
        program, d_state, outputs = self.program, self.d_state, self.outputs
        log_scale = np.zeros(program.batch)
        for t in reversed(range(program.steps)):
            d_state, gradients = program.pull_step(t, outputs, d_state)
            yield step_back(program, t, log_scale, gradients)
            norm = norms(joint(d_state))
            unit = np.where((norm > 0) & np.isfinite(norm), norm, 1.0)
            d_state = tuple(d / unit.reshape(-1, *[1] * (d.ndim - 1)) for d in d_state)
            log_scale = log_scale + np.log(unit)
            outputs = [np.zeros_like(d) for d in outputs]  # the loss is at the last step alone


def backward(cell: GatedCell, params: Arrays, x: Any, state: Arrays | None, d_output: Any) -> Backward:
    """Forward, and the cotangent of L = sum(d_output * last output); d_output (B, O), ones where None.

    In long doubles where float64 could not hold a derivative.
    """
    check(cell, params, x)
    x = np.asarray(x)
    program, path = forward_path(cell, params, x, state)
    if underflows(cell, params, x, program, path):
        program, path = forward_path(cell, params, x, state, WIDE)
    d_y = np.zeros((program.steps, program.batch, program.output_size), program.dtype)
    d_y[-1] = cotangent(d_output, program.batch, program.output_size)
    d_outputs, d_x = program.pull_outputs(d_y)
    outputs = [d[-1] for d in d_outputs]
    d_state = program.with_outputs(program.steps - 1, outputs, tuple(np.zeros_like(s[-1]) for s in path))
    return Backward(
        program, path, d_state, outputs, d_x[-1] if np.ndim(d_x) else 0, dict(program.products.grads)
    )
