"""Kernels of a cell with states narrower than its units: those of the widened cell, on padded arrays.

The products read and write the narrow part alone: W_hh has as many columns as h has numbers, and the matrix
that makes h as many rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..contract import Arrays
from ..programs.program import Gradients, Program
from ._numba_phases import PhasedProgram


class ProjectedProgram(Program):
    """The program of the widened cell, whose results are cut to this cell's shapes."""

    program: PhasedProgram | None = None  # of the widened cell, once there are parameters

    def setup(self) -> None:
        wide = self.cell.widened()
        assert wide is not None  # the backend has asked
        self.wide = wide

    def assign(self, params: Arrays) -> None:
        self.params = {k: self.place(v) for k, v in params.items()}
        self.shapes = {k: v.shape for k, v in self.params.items()}
        padded = self.padded(self.params, self.wide.parameter_shapes(self.input_size, self.hidden_size))
        if self.program is not None:
            return self.program.assign(padded)
        self.narrow = {k: s[-1] for k, s in self.cell.state_shapes(1, self.hidden_size).items()}
        (fed,) = self.cell.fed_back
        sizes = (self.steps, self.batch, self.dtype, self.device, self.direction)
        self.program = PhasedProgram(self.wide, padded, *sizes, width=self.narrow[fed])
        self.implementation = self.program.implementation
        return None

    def padded(self, arrays: Arrays, shapes: dict[str, tuple[int, ...]]) -> Arrays:
        """The arrays in these shapes, with zeros at the end of each axis."""
        return {name: padded(array, shapes[name]) for name, array in arrays.items()}

    def states(self, arrays: Arrays) -> Arrays:
        """States as wide as the units."""
        return self.padded(arrays, self.wide.state_shapes(self.batch, self.hidden_size))

    def cut(self, arrays: Arrays) -> Arrays:
        """States, or trajectories of them, as wide as this cell's."""
        return {name: array[..., : self.narrow[name]] for name, array in arrays.items()}

    def run_forward(self) -> None:
        program = self.program
        assert program is not None
        program._x, program._state = self._x, self.states(self._state)
        program.run_forward()
        self.output, self.last = program.output[..., : self.output_size], self.cut(program.last)

    def run_backward(self, trace: bool = False, again: bool = False) -> None:
        program = self.program
        assert program is not None
        program.states_only = self.states_only
        program._d_output = padded(self._d_output, program.output.shape)
        program._d_state = self.states(self._d_state)
        program.run_backward(trace, again)
        wide = program.gradients
        params = {k: wide.params[k][tuple(map(slice, shape))] for k, shape in self.shapes.items()}
        self.gradients = Gradients(
            params, wide.x, self.cut(wide.state), wide.trajectory and self.cut(wide.trajectory)
        )


def padded(array: Any, shape: tuple[int, ...]) -> np.ndarray:
    """The array as the first part of zeros in this shape; itself where it has that shape."""
    if array.shape == shape:
        return array
    wide = np.zeros(shape, array.dtype)
    wide[tuple(map(slice, array.shape))] = array
    return wide
