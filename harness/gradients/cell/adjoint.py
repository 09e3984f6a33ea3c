"""The adjoint of a loss at the last step, dL/d(joint state), on its way back, stretch by stretch."""

from __future__ import annotations

from typing import Any

import numpy as np

from cellbench.cells import GatedCell
from cellbench.cells.contract import real_floating

from .linear import Elementwise, dense, is_wide, joint, split_joint
from .linearise import linearise, underflows
from .path import WIDE, forward_path, norms

Arrays = dict[str, Any]
COEFFICIENTS = 2**22  # bytes of Jacobians at once


class Adjoint:
    """dL/d(joint state), scaled to norm 1 a sample, on its way back; its norms go into logs and by_state."""

    def __init__(self, cell: GatedCell, logs: np.ndarray, by_state: np.ndarray) -> None:
        self.cell, self.logs, self.by_state, self.lag = cell, logs, by_state, 0
        self.d: list[np.ndarray] = []
        self.log_scale = np.zeros(logs.shape[1])

    @classmethod
    def of_output(
        cls,
        cell: GatedCell,
        params: Arrays,
        x: np.ndarray,
        before: Arrays,
        d_output: Any,
        logs: np.ndarray,
        by_state: np.ndarray,
    ) -> Adjoint:
        """At lag 1, over the last step: x (1, B, I) from the states before.

        The output may depend on more than the new state, and that share is pulled back with it.
        """
        program, path = forward_path(cell, params, x, before)
        if underflows(cell, params, x, program, path):
            program, path = forward_path(cell, params, x, before, WIDE)
        d_y = cotangent(d_output, program.batch, program.output_size)[None]
        outputs = [d[0] for d in program.pull_outputs(np.asarray(d_y, program.dtype))[0]]
        adjoint = cls(cell, logs, by_state)
        adjoint.write(
            program.with_outputs(0, outputs, tuple(np.zeros_like(s[-1]) for s in path)), scale=False
        )
        adjoint.write(program.pull_step(0, outputs, tuple(adjoint.d))[0])
        return adjoint

    def write(self, d: tuple[np.ndarray, ...], scale: bool = True) -> None:
        """Writes the norms at this lag and keeps d, scaled to norm 1.

        Not so at lag 0, where the output's share past the state still has to be added to it.
        """
        norm = norms(joint(d))
        with np.errstate(divide="ignore"):
            self.logs[self.lag] = self.log_scale + np.log(norm)
            for k, of_state in enumerate(d):
                rows = of_state.reshape(len(of_state), -1)
                self.by_state[self.lag, k] = self.log_scale + np.log(norms(rows))
        unit = np.where((norm > 0) & np.isfinite(norm) & scale, norm, 1)
        self.d = [of_state / unit.reshape(-1, *[1] * (of_state.ndim - 1)) for of_state in d]
        self.log_scale = (self.log_scale + np.log(unit)).astype(np.float64)
        self.lag += 1

    def through_tape(self, program: Any, count: int, wide: bool) -> None:
        """Over the first `count` steps of a program that has run, last first."""
        if wide:
            program = forward_path(self.cell, program.params, program._x, program._state, WIDE)[0]
        self.d = [d.astype(program.dtype) for d in self.d]
        width = self.cell.emitted(program.input_size, program.hidden_size)  # a step's, before a read-out
        silent = [np.zeros((program.batch, width), program.dtype)]
        for t in reversed(range(count)):
            self.write(program.pull_step(t, silent, tuple(self.d))[0])

    def through_equations(self, params: Arrays, x: np.ndarray, path: list[np.ndarray]) -> None:
        """Over all steps of x (T, B, I), last first."""
        states, recurrent, width = len(path), len(self.cell.recurrent), path[0][0].size
        block = max(1, COEFFICIENTS // (8 * states * (states + recurrent) * width))
        for start in reversed(range(0, len(x), block)):
            stop = min(start + block, len(x))
            jacobians = linearise(self.cell, params, x[start:stop], [s[start : stop + 1] for s in path])
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
    """d_output (B, O) in float64, ones where it is None.

    Raises ValueError for another shape, or entries that are not finite.
    """
    if d_output is None:
        return np.ones((batch, width))
    d = np.asarray(real_floating("d_output", d_output), np.float64)
    if d.shape != (batch, width):
        raise ValueError(f"d_output is {d.shape}; it must be (B, O) = {(batch, width)}")
    if not np.isfinite(d).all():
        raise ValueError(f"d_output has {int((~np.isfinite(d)).sum())} entries that are not finite")
    return d
