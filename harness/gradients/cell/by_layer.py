"""The adjoint of a stack of bidirectional layers, layer by layer from the last.

A layer above reads both directions of the one below, so no one step carries a joint state on. Each layer and
direction still has its states, and dL/d(state) is what a state passes to its own next step, as it is of the
joint state of a stack in one direction. Lags are counted from the direction's own end, and the loss is on the
last output of each direction of the last layer at its own end.

Cotangents of a layer's output come at every step, of very different sizes: each has a log scale of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from cellbench.cells import GatedCell
from cellbench.cells.backends.numpy import NumpyProgram, Reference

from .adjoint import cotangent
from .back import StepBack, step_back
from .layered import Reading, readings
from .linear import joint
from .linearise import underflows
from .path import WIDE, check, finite, forward_path, norms

Arrays = dict[str, Any]


@dataclass(frozen=True)
class Scaled:
    """rows (T, B, ...), each to be multiplied by exp(log), log (T, B); -inf where a row is zero."""

    rows: np.ndarray
    log: np.ndarray

    def turned(self, reverse: bool) -> Scaled:
        """By a direction's own steps from by time, and the other way round."""
        return Scaled(self.rows[::-1], self.log[::-1]) if reverse else self

    def plus(self, other: Scaled) -> Scaled:
        log = common(self.log, other.log)
        return Scaled(
            self.rows * weight(self.log, log)[..., None] + other.rows * weight(other.log, log)[..., None], log
        )

    def scaled(self) -> Scaled:
        """The same with rows of norm 1, or 0, in float64."""
        size = norms(self.rows.reshape(-1, self.rows.shape[-1])).reshape(self.log.shape)
        unit = np.where((size > 0) & np.isfinite(size), size, 1.0)
        with np.errstate(divide="ignore"):
            log = (self.log + np.log(size)).astype(np.float64)
        return Scaled((self.rows / unit[..., None]).astype(np.float64), log)


def common(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """A log scale at which both can be added: the larger one, 0 where both are -inf."""
    larger = np.maximum(first, second)
    return np.where(np.isfinite(larger), larger, 0.0)


def weight(log: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """What is of scale `log`, at another scale."""
    return np.exp(log - scale)


@dataclass(frozen=True)
class LayerBackward:
    """One layer and direction after its adjoint; everything is by the direction's own steps.

    coming     cotangents of its output
    d_outputs  those pulled back to the outputs of its steps
    logs       (S, T + 1, B): log norms of dL/d(state) by lag, 0 to T
    d_x        cotangents of what the layer read, (T, B, I)
    past       arrays that the output's side uses too, at every step
    """

    reading: Reading
    program: Reference
    coming: Scaled
    d_outputs: list[np.ndarray]
    logs: np.ndarray
    d_x: Scaled
    past: frozenset[str]

    @property
    def path(self) -> list[np.ndarray]:
        return self.program.path()

    @property
    def held(self) -> np.ndarray:
        """(B,): the samples whose states are finite."""
        return finite(self.path)

    @property
    def local(self) -> Arrays:
        """No array's gradient lies past the recurrence at the last step alone."""
        return {}

    def steps(self) -> Iterator[StepBack]:
        """Last step first, as of a loss at the last step."""
        for step in _walk(self.program, self.d_outputs, self.coming.log):
            yield step.back


def backwards(
    cell: GatedCell, params: Arrays, x: Any, state: Arrays | None, d_output: Any
) -> Iterator[LayerBackward]:
    """Of all layers and directions, those of the last layer first."""
    check(cell, params, x)
    x = np.asarray(x, np.float64)
    steps, batch = x.shape[:2]
    every = list(readings(cell, params, x, state))
    d = cotangent(d_output, batch, cell.output_size(*cell.sizes(params)))
    d = d @ np.asarray(params["weight_out"], np.float64) if cell.readout else d
    log = np.full((steps, batch), -np.inf)
    log[-1] = 0.0
    # of the last layer each direction's output counts at its own end
    coming = [
        Scaled(np.broadcast_to(part, (steps, *part.shape)) * (log == 0)[..., None], log)
        for part in np.split(d, cell.directions, axis=-1)
    ]
    for depth in reversed(range(cell.layers)):
        beneath: Scaled | None = None
        for k in range(cell.directions):
            reading = every[depth * cell.directions + k]
            back = _back(reading, coming[k], depth == cell.layers - 1)
            yield back
            d_x = back.d_x.turned(k == 1)
            beneath = d_x if beneath is None else beneath.plus(d_x)
        if depth:
            assert beneath is not None
            halves = np.split(beneath.rows, cell.directions, axis=-1)
            coming = [Scaled(half, beneath.log).turned(k == 1) for k, half in enumerate(halves)]


def _back(reading: Reading, coming: Scaled, last: bool) -> LayerBackward:
    """One layer's adjoint from the cotangents of its output; lag 0 is the loss's own, so the last layer's."""
    cell, program = reading.cell, _forward(reading)
    steps, batch = program.steps, program.batch
    d_outputs, d_x_of_output = program.pull_outputs(np.asarray(coming.rows, program.dtype))
    past = frozenset(program.products.grads)
    logs, scales = np.full((len(cell.states), steps + 1, batch), -np.inf), np.empty((steps, batch))
    gates = np.empty((steps, batch, len(cell.gates), program.units), program.dtype)
    d_x = np.empty((steps, batch, program.input_size), program.dtype)
    for step in _walk(program, d_outputs, coming.log):
        t, scales[step.back.t] = step.back.t, step.back.log_scale
        if last and t == steps - 1:
            logs[:, 0] = _logs(step.after, scales[t])
        logs[:, steps - t] = _logs(step.before, scales[t])
        if step.back.d_x is None:
            gates[t] = np.stack(step.back.d_wx, 1)
        else:
            d_x[t] = step.back.d_x
    if isinstance(program, NumpyProgram):  # linear in its step's cotangents, so it may carry their scale
        d_x = program.products.pull_project(program._x, gates)
    given = Scaled(d_x, scales).scaled()
    if np.ndim(d_x_of_output):
        given = given.plus(Scaled(d_x_of_output, coming.log).scaled())
    return LayerBackward(reading, program, coming, d_outputs, logs, given, past)


@dataclass(frozen=True)
class Walked:
    """One step on the way back, with dL/d(state) after it and before it, at the step's scale."""

    back: StepBack
    after: tuple[np.ndarray, ...]
    before: tuple[np.ndarray, ...]


def _walk(program: Reference, d_outputs: list[np.ndarray], log: np.ndarray) -> Iterator[Walked]:
    """Back over all steps, last first, from outputs' cotangents at every step, of log scales (T, B)."""
    d = tuple(np.zeros_like(s[-1]) for s in program.path())
    log_scale = np.full(program.batch, -np.inf)
    for t in reversed(range(program.steps)):
        scale = common(log_scale, log[t])
        now = [_times(d_t[t], weight(log[t], scale)) for d_t in d_outputs]
        after = program.with_outputs(t, now, tuple(_times(s, weight(log_scale, scale)) for s in d))
        before, rest = program.pull_step(t, now, after)
        yield Walked(step_back(program, t, scale, rest), after, before)
        size = norms(joint(before))
        with np.errstate(divide="ignore"):
            log_scale = scale + np.log(size).astype(np.float64)
        d = tuple(_times(s, 1 / np.where((size > 0) & np.isfinite(size), size, 1.0)) for s in before)


def _forward(reading: Reading) -> Reference:
    """The layer's program after a forward, in long doubles where float64 could not hold a derivative."""
    given = reading.cell, reading.params, reading.x, reading.state
    program, path = forward_path(*given)
    if underflows(reading.cell, reading.params, reading.x, program, path):
        program, _ = forward_path(*given, WIDE)
    return program


def _times(rows: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """(B, ...) times (B,)."""
    return rows * factor.reshape(-1, *[1] * (rows.ndim - 1))


def _logs(states: tuple[np.ndarray, ...], scale: np.ndarray) -> np.ndarray:
    """(S, B): log norms of states of this scale."""
    with np.errstate(divide="ignore"):
        return np.stack([scale + np.log(norms(s.reshape(len(s), -1))) for s in states])
