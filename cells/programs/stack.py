"""A cell of several layers, of both directions, or of ragged sequences, from programs of single cells.

Everything between the programs is done on the backend's own arrays, NumPy's or torch's, on their device.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from ..cell import GatedCell
from ..contract import Array, Arrays
from ..derived import layers
from ..vocabulary.matrices import concatenate, linear
from . import ragged, stream
from .program import Gradients, Program


class Maker(Protocol):
    """What makes the programs of single cells: a backend, which this file does not import."""

    def unsupported(self, cell: GatedCell, dtype: str, device: str, direction: str) -> str | None: ...

    def program(self, cell: GatedCell, *arguments: Any) -> Program: ...


class StackProgram(Program):
    """One program of the backend for each layer and direction."""

    backend: Maker
    lengths: np.ndarray | None

    def setup(self) -> None:
        self.layers = layers.of(self.cell, self.input_size, self.hidden_size)
        self.single = layers.single(self.cell)
        self.names = list(self.single.parameter_shapes(self.input_size, self.hidden_size))
        if self.lengths is not None:
            self.single = ragged.stopping(self.single)
        if reason := self.backend.unsupported(self.single, self.dtype, self.device, self.direction):
            raise ValueError(reason)
        self.programs: list[Program] = []

    def assign(self, params: Arrays) -> None:
        arrays = [layers.arrays_of(layer, params, self.names) for layer in self.layers]
        if not self.programs:
            sizes = (self.steps, self.batch, self.dtype, self.device, self.direction)
            self.programs = [self.backend.program(self.single, each, *sizes) for each in arrays]
            self.implementation = self.programs[0].implementation
            self.turns = Turns(self.lengths, self.steps, self.batch, self.programs[0])
        else:
            for program, each in zip(self.programs, arrays, strict=True):
                program.assign(each)
        self.read_out = {name: self.place(params[name]) for name in layers.READ_OUT if name in params}

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

    def step(self, x: Any) -> np.ndarray:
        self._check_stream()
        for program in self.programs:
            x = program.step(x)
        if not self.read_out:
            return x
        weight, bias = (self.host(self.read_out[name]) for name in layers.READ_OUT)
        return linear(x, weight, bias)

    def reset(self, state: Arrays | None = None) -> None:
        self._check_stream()
        placed = None if state is None else self._states("state", state)
        for k, program in enumerate(self.programs):
            program.reset(None if placed is None else self.of_layer(placed, k))

    def stream_state(self) -> Arrays:
        self._check_stream()
        return self.together([program.stream_state() for program in self.programs])

    def _check_stream(self) -> None:
        if reason := stream.unsupported(self):
            raise ValueError(reason)

    def by_depth(self) -> list[list[int]]:
        """Indices of the layers of each depth: one, or one a direction."""
        directions = self.cell.directions
        return [list(range(k, k + directions)) for k in range(0, len(self.layers), directions)]

    def of_layer(self, states: Arrays, k: int) -> Arrays:
        """The states of layer k, from those of all, which lie side by side on their first axis in a stack."""
        return {name: value[k] for name, value in states.items()} if self.cell.stacked else states

    def together(self, states: list[Arrays], axis: int = 0) -> Arrays:
        """The other way round: states of all layers, with the layers' axis at `axis`."""
        if not self.cell.stacked:
            return states[0]
        key = (slice(None),) * axis + (None,)
        return {name: concatenate([each[name][key] for each in states], axis) for name in states[0]}

    def run_forward(self) -> None:
        hidden = self._x
        for depth in self.by_depth():
            outputs = []
            for k in depth:
                reverse, program = self.layers[k].reverse, self.programs[k]
                program.start(self.turns.read(hidden, reverse), self.of_layer(self._state, k))
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
        of_layer: dict[int, Gradients] = {}
        for depth in reversed(self.by_depth()):
            width = d_hidden.shape[-1] // len(depth)
            d_inputs = []
            for j, k in enumerate(depth):
                reverse = self.layers[k].reverse
                d_output = self.turns.back(d_hidden[..., j * width : (j + 1) * width], reverse)
                d_state = self.of_layer(self._d_state, k)
                of_layer[k] = self.programs[k].pull_back(d_output, d_state, trace, again)
                # without the column that a ragged batch appends to x
                d_inputs.append(self.turns.back(of_layer[k].x[..., : self.layers[k].input_size], reverse))
            d_hidden = d_inputs[0] if len(d_inputs) == 1 else d_inputs[0] + d_inputs[1]
        pulled = [of_layer[k] for k in range(len(self.layers))]
        params = {
            name + layer.suffix: d
            for layer, each in zip(self.layers, pulled, strict=True)
            for name, d in each.params.items()
        } | d_read_out
        path = self.together([each.trajectory or {} for each in pulled], 1) if trace else None
        self.gradients = Gradients(params, d_hidden, self.together([each.state for each in pulled]), path)

    def pull_read_out(self) -> tuple[Array, Arrays]:
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
    """The order in which a direction reads x and gives back its rows, on arrays such as `program` places."""

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

    def read(self, x: Array, reverse: bool) -> Array:
        """x (T, B, ...) in the order in which the direction reads it.

        Ragged sequences get a last column that says what is within a sequence.
        """
        if not self.ragged:
            return x[self.order[True]] if reverse else x
        return concatenate([x[self.order[reverse]], self.column])

    def back(self, rows: Array, reverse: bool) -> Array:
        """Rows (T, B, ...) by the direction's steps as rows by time, and the other way round.

        They are zeros beyond the lengths.
        """
        rows = rows[self.order[True]] if reverse else rows
        if not self.ragged:
            return rows
        if hasattr(rows, "masked_fill"):  # a tensor; a product with a mask would keep NaN
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
