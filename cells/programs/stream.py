"""One step after the other, for who serves: a program of one step, and the state that it leaves."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..contract import Arrays

Program = Any  # one of `program`, which imports this file


class Stream:
    """The steps of B sequences, from zeros or a given state. Weights stay as the program laid them out."""

    def __init__(self, program: Program) -> None:
        """Of the program's cell and arrays. Raises ValueError where its steps cannot be taken one by one."""
        if reason := unsupported(program):
            raise ValueError(reason)
        self.of, self.params = program, program.params
        self.one = program.of_one_step()
        # what needs no check and no copy
        self.plain = ((program.batch, program.input_size), np.dtype(program.dtype))
        self.reset(None)

    def reset(self, state: Arrays | None) -> None:
        """Starts anew, from zeros where the state is None."""
        self.state = self.one.placed_state(state)

    def step(self, x: Any) -> np.ndarray:
        """Output (B, O) of a step on x (B, I)."""
        one = self.one
        if self.params is not self.of.params:
            self.params = self.of.params
            one.assign(self.params)
        if one.on_views and type(x) is np.ndarray and (x.shape, x.dtype) == self.plain:
            one.step_from(x.reshape(1, *x.shape), self.state)
        else:
            one.step_from(one.placed_step(x), self.state)
        self.state = one.last
        return one.host(one.output[0])


def unsupported(program: Program) -> str | None:
    """None, or why the program's steps cannot be taken one by one."""
    cell = program.cell
    if cell.bidirectional:
        return (
            f"cell {cell.name!r} is bidirectional, and its reverse direction begins at the last step, which a"
            " stream has not; step() takes bidirectional=False"
        )
    if getattr(program, "lengths", None) is not None:
        return "this program was prepared with lengths; step() takes one step of every sequence, without them"
    if not cell.stepwise:
        return f"{cell.name} gives something else step by step, so that it cannot be streamed"
    return None
