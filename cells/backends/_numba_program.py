"""What Numba's programs of one phase and of several share: states and sums over segments of the steps."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any

import numpy as np

from ..kernels import lines
from ..kernels.replay import Replays
from ..kernels.segments import segments
from ..kernels.trajectory import Trajectory
from ..programs.products import Products
from ..programs.program import Gradients, Program


class SegmentedProgram(Program):
    """The steps one after the other, segment by segment.

    `setup` calls `hold_states` and sets `segment`, the steps of one, and `apart`; `assign` sets `products`.
    """

    segment: int
    apart: list[np.ndarray]
    products: Products

    def push_segment(self, segment: slice) -> None:
        """Computes a segment forward."""
        raise NotImplementedError

    def pull_segment(
        self,
        segment: slice,
        d_outputs: list[np.ndarray],
        d_states: list[Trajectory],
        sums: Any,
        d_x: np.ndarray,
    ) -> None:
        """Goes back through a segment: writes its d_x, and adds its share of the arrays' gradients."""
        raise NotImplementedError

    def sums(self) -> Any:
        """Zeros in float64, to which segments add the vectors' gradients: sums over steps and sequences."""
        raise NotImplementedError

    def of_vectors(self, sums: Any) -> Iterable[np.ndarray]:
        """The vectors' gradients, in the cell's order, when all segments have added to the sums."""
        raise NotImplementedError

    def hold_states(self, output_states: tuple[str | None, ...], keeping: bool) -> None:
        """Makes the states' arrays. Outputs are states of these names after every step, or arrays apart."""
        cell, self.keeping, self.output_states = self.cell, keeping, output_states
        self.replays = Replays(cell.name, keeping, self.dtype)
        # an output is read at every step; two rows do for a state that is neither that nor fed back
        needed = {s for s in cell.states if keeping or s in output_states}
        self.states = [self.trajectory(s in needed or s in cell.fed_back) for s in cell.states]
        self.named = tuple(zip(cell.states, self.states, strict=True))
        self.in_turn = tuple(trajectory for trajectory in self.states if trajectory.in_turn)
        self.last = {name: trajectory.last for name, trajectory in self.named}

    def empty(self, *shape: int) -> np.ndarray:
        return lines.empty(shape, self.dtype)

    def trajectory(self, every_step: bool) -> Trajectory:
        return Trajectory(every_step, self.steps, self.batch, self.units, self.dtype)

    def segments(self) -> tuple[slice, ...]:
        """Slices of the steps, each as long as the buffers of gate values."""
        return segments(self.steps, self.segment)

    def run_forward(self) -> None:
        # what a call could make anew is made once: a short one takes little longer than making it
        for name, trajectory in self.named:
            trajectory.rows[0] = self._state[name]
        for segment in self.segments():
            self.push_segment(segment)
            for trajectory in self.in_turn:
                trajectory.carry_on(segment.stop - segment.start)
        self.output = self.products.emit(self._x, self.outputs)

    @cached_property
    def outputs(self) -> tuple[np.ndarray, ...]:
        """The equations' outputs (T, B, units): states after every step, or arrays of their own."""
        apart, at = iter(self.apart), self.cell.states.index
        return tuple(self.states[at(s)].rows[1:] if s else next(apart) for s in self.output_states)

    def run_backward(self, trace: bool = False, again: bool = False) -> None:
        cell = self.cell
        d_outputs, d_x_emitted = self.products.pull_emit(self._d_output)
        d_outputs = [np.ascontiguousarray(d) for d in d_outputs]
        d_states = [self.trajectory(trace) for _ in cell.states]
        sums, d_x = self.sums(), np.zeros_like(self._x)
        for segment in reversed(self.segments()):
            at_end = segment.stop == self.steps
            for d, name in zip(d_states, cell.states, strict=True):
                d.carry_back(segment, self._d_state[name] if at_end else None)
            self.pull_segment(segment, d_outputs, d_states, sums, d_x)
        d_x += d_x_emitted
        d_vectors = zip(cell.vectors, self.of_vectors(sums), strict=True)
        self.products.add({name: d.astype(self.dtype) for name, d in d_vectors})
        d_state = {name: d.first for name, d in zip(cell.states, d_states, strict=True)}
        path = {name: d.rows for name, d in zip(cell.states, d_states, strict=True)} if trace else None
        self.gradients = Gradients(self.products.finish(), d_x, d_state, path)
