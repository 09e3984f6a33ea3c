"""Sequences of different lengths in one batch: the cell that stops at a length, and the order of reading.

The cell that stops has the cell's own equations, so that every backend computes it as it computes the cell: x
has one more column, 1 within a sequence and 0 beyond it, and a state beyond it stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from functools import lru_cache
from typing import Any

import numpy as np

from ..cell import GatedCell
from ..contract import Array, Arrays, Returned, Shapes, State, output_and_state, whole
from ..vocabulary.primitives import select
from ..vocabulary.tape import array_of

WITHIN = "within"  # the further gate that carries the column into the equations


def checked(lengths: Sequence[int] | np.ndarray, steps: int, batch: int) -> np.ndarray:
    """The lengths as an array. Raises ValueError that names the first bad one."""
    try:
        given = lengths.tolist() if hasattr(lengths, "tolist") else list(lengths)
        count = len(given)
    except TypeError:
        raise ValueError(
            f"lengths is {lengths!r}; it must be a sequence of {batch} whole numbers, one a sequence"
        ) from None
    if count != batch:
        raise ValueError(f"lengths has {count} entries; the batch is {batch}, so it must have {batch}")
    for k, value in enumerate(given):
        if not whole(value) or not 1 <= value <= steps:
            raise ValueError(
                f"lengths[{k}] is {value!r}; it must be a whole number from 1 to steps = {steps}"
            )
    return np.array(given, np.int64)


def order(lengths: np.ndarray, steps: int, reverse: bool) -> np.ndarray:
    """(T, B): the step of its sequence that a direction reads at each t; beyond the length, its last one.

    Reading the same step again, and not whatever padding holds, keeps NaN out of products with zero
    cotangents.
    """
    t = np.arange(steps)[:, None]
    return np.maximum(lengths - 1 - t, 0) if reverse else np.minimum(t, lengths - 1)


class StoppingCell(GatedCell):
    """`cell`, whose state stays as it is where the last column of x is 0; the other columns are the cell's x.

    It has the gates, states, options and methods of that cell, so that a backend computes it as it computes
    the cell. One gate more carries the column into the equations; a written step reads the column itself.
    """

    cell: GatedCell = field(kw_only=True)

    def __post_init__(self) -> None:
        cell = self.cell
        carried = () if cell.written_out else (WITHIN,)
        class_of_cell = {
            "gates": (*cell.gates, *carried),
            "states": cell.states,
            "vectors": cell.vectors,
            "recurrent_gates": cell.recurrent,
            "recurrent_states": cell.recurrent_states,
            "inner_gates": cell.inner_gates,
            "matrices": cell.matrices,
            "heads": cell.heads,
        }
        for name, value in class_of_cell.items():
            object.__setattr__(self, name, value)  # frozen, and these are no fields
        super().__post_init__()

    @property
    def name(self) -> str:
        return self.cell.name

    @property
    def options(self) -> str:
        return self.cell.options

    def writes(self, method: str) -> bool:
        # equations always carry the column, which is a projection of the cell's own
        return self.cell.writes(method) or (method == "project" and not self.cell.written_out)

    def shapes(self, input_size: int, hidden_size: int) -> Shapes:
        return self.cell.shapes(input_size - 1, hidden_size)

    def state_shapes(self, batch: int, hidden_size: int) -> Shapes:
        return self.cell.state_shapes(batch, hidden_size)

    def units(self, hidden_size: int) -> int:
        return self.cell.units(hidden_size)

    def emitted(self, input_size: int, hidden_size: int) -> int:
        return self.cell.emitted(input_size - 1, hidden_size)

    def unfit(self, input_size: int, hidden_size: int) -> str | None:
        return self.cell.unfit(input_size - 1, hidden_size)

    def widened(self) -> GatedCell | None:
        wide = self.cell.widened()
        return stopping(wide) if wide else None

    def sizes(self, params: Arrays) -> tuple[int, int]:
        input_size, hidden_size = self.cell.sizes(params)
        return input_size + 1, hidden_size

    def effective(self, params: Arrays) -> Arrays:
        return self.cell.effective(params)

    def project(self, params: Arrays, x: Array) -> State:
        return State(**vars(self.cell.project(params, x[..., :-1])), **{WITHIN: column(x)})

    def equations(self, wx: State, wh: State, prev: State, *unit: Any, **_: Any) -> Returned:
        within = getattr(wx, WITHIN)
        rest = State(**{gate: getattr(wx, gate) for gate in self.cell.gates})
        of_state = State(**{gate: getattr(wh, gate) for gate in self.fed_gates})
        inside = [within_or_zero(each, dict.fromkeys(vars(each), within)) for each in (rest, of_state, prev)]
        vars(inside[1]).update({gate: getattr(wh, gate) for gate in self.inner_gates})  # these take a value
        output, new = output_and_state(self.cell, self.cell.equations(*inside, *unit))
        return stopped(output, new, prev, dict.fromkeys(vars(new), within))

    def emit(self, params: Arrays, x: Array, output: Array) -> Array:
        return self.cell.emit(params, x[..., :-1], output)

    def step(self, params: Arrays, x: Array, state: State) -> tuple[Array, State]:
        axes = {name: [1] * (len(value.shape) - 1) for name, value in vars(state).items()}
        within = {name: column(x).reshape(-1, *ones) for name, ones in axes.items()}
        inputs = select(column(x), x[..., :-1], 0.0)
        output, new = self.cell.step(params, inputs, within_or_zero(state, within))
        return stopped(output, new, state, within)


def column(x: Array) -> Array:
    """The column that says what is within, which has no gradient."""
    return array_of(x)[..., -1:]


def within_or_zero(values: State, within: Arrays) -> State:
    """The values, zeros beyond the length: a first step from zeros overflows nowhere, in its derivative too.

    A step that goes on from a state that has ended may, and 0 times its infinite derivative would be NaN.
    """
    return State(**{name: select(within[name], value, 0.0) for name, value in vars(values).items()})


def stopped(output: Array, new: State, prev: State, within: Arrays) -> tuple[Array, State]:
    """Outputs and states, with each state as it was where its `within` is 0.

    An output that is a state is that state again.
    """
    held = {s: select(within[s], value, getattr(prev, s)) for s, value in vars(new).items()}

    def held_if_state(value: Array) -> Array:
        return next((held[s] for s, state in vars(new).items() if state is value), value)

    outputs = tuple(map(held_if_state, output)) if isinstance(output, tuple) else held_if_state(output)
    return outputs, State(**held)


@lru_cache(maxsize=256)
def stopping(cell: GatedCell) -> GatedCell:
    """The cell that keeps its state where the last column of x is 0; its other columns are the cell's x."""
    return StoppingCell(
        cell=cell,
        biases=cell.biases,
        readout=cell.readout,
        layers=cell.layers,
        bidirectional=cell.bidirectional,
    )
