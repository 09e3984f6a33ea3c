"""A cell of several layers, of both directions, or of ragged sequences, from a backend's programs of single
cells.

Everything between the programs is done on the backend's own arrays, NumPy's or torch's, on their device.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..derived import layers as parts
from ..vocabulary.matrices import concatenate, linear
from . import ragged
from .program import Arrays, Backend, Gradients, Program


class StackProgram(Program):
    """One program of the backend for each layer and direction."""

    backend: Backend
    lengths: np.ndarray | None

    def setup(self) -> None:
        self.parts = parts.parts(self.cell, self.input_size, self.hidden_size)
        self.single = parts.single(self.cell)
        self.names = list(self.single.parameter_shapes(self.input_size, self.hidden_size))
        if self.lengths is not None:
            self.single = ragged.stopping(self.single)
        if reason := self.backend.unsupported(self.single, self.dtype, self.device, self.direction):
            raise ValueError(reason)
        self.programs: list[Program] = []

    def assign(self, params: Arrays) -> None:
        shares = [parts.share(part, params, self.names) for part in self.parts]
        if not self.programs:
            sizes = (self.steps, self.batch, self.dtype, self.device, self.direction)
            self.programs = [self.backend.program(self.single, own, *sizes) for own in shares]
            self.implementation = self.programs[0].implementation
            self.turns = Turns(self.lengths, self.steps, self.batch, self.programs[0])
        else:
            for program, own in zip(self.programs, shares, strict=True):
                program.assign(own)
        self.read_out = {name: self.place(params[name]) for name in parts.READ_OUT if name in params}

    def place(self, array: Any) -> Any:
        return self.programs[0].place(array)

    def host(self, array: Any) -> np.ndarray:
        return self.programs[0].host(array)

    def sync(self) -> None:
        self.programs[0].sync()

    def untraceable(self) -> str | None:
        if self.cell.bidirectional:
            return (
                f"cell {self.cell.name!r} has no trajectory: its two directions pass a step at different"
                " times"
            )
        return self.programs[0].untraceable()

    def layers(self) -> list[list[int]]:
        """Indices of the parts of each layer."""
        directions = self.cell.directions
        return [list(range(k, k + directions)) for k in range(0, len(self.parts), directions)]

    def of_part(self, states: Arrays, k: int) -> Arrays:
        """The states of part k, from those of all parts, side by side on their first axis where it is a
        stack.
        """
        return {name: value[k] for name, value in states.items()} if self.cell.stacked else states

    def together(self, states: list[Arrays], axis: int = 0) -> Arrays:
        """The other way round, of arrays that have the parts' axis at `axis`."""
        if not self.cell.stacked:
            return states[0]
        key = (slice(None),) * axis + (None,)
        return {name: concatenate([own[name][key] for own in states], axis) for name in states[0]}

    def run_forward(self) -> None:
        hidden = self._x
        for layer in self.layers():
            outputs = []
            for k in layer:
                reverse, program = self.parts[k].reverse, self.programs[k]
                program.start(self.turns.read(hidden, reverse), self.of_part(self._state, k))
                outputs.append(self.turns.back(_detached(program.output), reverse))
            hidden = outputs[0] if len(outputs) == 1 else concatenate(outputs)
        self.hidden = hidden
        self.output = hidden
        if self.read_out:
            self.output = self.turns.back(
                linear(hidden, self.read_out["weight_out"], self.read_out["bias_out"]), False
            )
        self.last = self.together(
            [{name: _detached(v) for name, v in program.last.items()} for program in self.programs]
        )

    def run_backward(self, trace: bool = False, again: bool = False) -> None:
        d_hidden, d_read_out = self.pull_read_out()
        found: dict[int, Gradients] = {}
        for layer in reversed(self.layers()):
            width = d_hidden.shape[-1] // len(layer)
            d_inputs = []
            for j, k in enumerate(layer):
                reverse = self.parts[k].reverse
                d_output = self.turns.back(d_hidden[..., j * width : (j + 1) * width], reverse)
                found[k] = self.programs[k].pull_back(d_output, self.of_part(self._d_state, k), trace, again)
                d_inputs.append(self.turns.back(found[k].x[..., : self.parts[k].input_size], reverse))
            d_hidden = d_inputs[0] if len(d_inputs) == 1 else d_inputs[0] + d_inputs[1]
        every = [found[k] for k in range(len(self.parts))]
        params = {
            name + part.suffix: d
            for part, own in zip(self.parts, every, strict=True)
            for name, d in own.params.items()
        } | d_read_out
        path = self.together([own.trajectory or {} for own in every], 1) if trace else None
        self.gradients = Gradients(params, d_hidden, self.together([own.state for own in every]), path)

    def pull_read_out(self) -> tuple[Any, Arrays]:
        """Cotangent of the last layer's output, and the gradients of the read-out's arrays."""
        d_y = self._d_output
        if not self.read_out:
            return d_y, {}
        d_y = self.turns.back(d_y, False)
        rows, hidden = d_y.reshape(-1, d_y.shape[-1]), self.hidden.reshape(-1, self.hidden.shape[-1])
        return d_y @ self.read_out["weight_out"], {
            "weight_out": rows.swapaxes(0, 1) @ hidden,
            "bias_out": rows.sum(0),
        }


class Turns:
    """How a direction reads x and gives back what belongs to its steps, on arrays such as `program` places."""

    def __init__(self, lengths: np.ndarray | None, steps: int, batch: int, program: Program) -> None:
        like = program.place(np.zeros(1))
        self.ragged = lengths is not None
        if lengths is None:
            self.order = {True: _indices(np.arange(steps - 1, -1, -1), like)}
            return
        columns = _indices(np.arange(batch), like)
        self.order = {
            way: (_indices(ragged.order(lengths, steps, way), like), columns) for way in (False, True)
        }
        within = (np.arange(steps)[:, None] < lengths)[:, :, None]
        self.beyond = _indices(~within, like)
        self.column = program.place(within.astype(float))

    def read(self, x: Any, reverse: bool) -> Any:
        """x (T, B, ...) in the order in which the direction reads it, with the column that says what is
        within a sequence.
        """
        if not self.ragged:
            return x[self.order[True]] if reverse else x
        return concatenate([x[self.order[reverse]], self.column])

    def back(self, rows: Any, reverse: bool) -> Any:
        """Rows (T, B, ...) by the direction's steps as rows by time, and the other way round; zeros beyond
        the lengths.
        """
        rows = rows[self.order[True]] if reverse else rows
        if not self.ragged:
            return rows
        if hasattr(rows, "masked_fill"):
            return rows.masked_fill(self.beyond, 0)
        return np.where(self.beyond, np.zeros((), rows.dtype), rows)


def _indices(array: np.ndarray, like: Any) -> Any:
    """Whole numbers or truths where `like` is."""
    if not hasattr(like, "detach"):
        return array
    import torch

    return torch.as_tensor(array, device=like.device)


def _detached(array: Any) -> Any:
    return array.detach() if hasattr(array, "detach") else array
