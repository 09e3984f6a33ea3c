"""The trajectory that a gradient is taken along, checked and computed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from cellbench.cells import GatedCell
from cellbench.cells.backends.numpy import NumpyProgram, Reference, WrittenProgram
from cellbench.cells.contract import real_floating

Arrays = dict[str, Any]
WIDE = "longdouble"  # on x86 down to e^-11355, where float64 ends at e^-745


def check(cell: GatedCell, params: Arrays, x: Any, least: int = 2) -> None:
    """Raises ValueError for parameters or an x that have no gradient through time."""
    if reason := unfollowable(cell):
        raise ValueError(reason)
    cell.sizes(params)
    for name, value in params.items():
        bad = ~np.isfinite(np.asarray(value))
        if bad.any():
            raise ValueError(
                f"{name} has {bad.sum()} entries that are not finite (first at"
                f" {tuple(map(int, np.argwhere(bad)[0]))})"
            )
    shape = tuple(real_floating("x", x).shape)
    if len(shape) != 3 or shape[0] < least:
        raise ValueError(
            f"x is {shape}; it must be (T, B, I) with at least {least} steps, for there is no lag in fewer"
        )
    if 0 in shape:
        raise ValueError(
            f"x is {shape}; it must be (T, B, I) with at least one sequence of at least one input"
        )


def unfollowable(cell: GatedCell) -> str | None:
    """None, or why no gradient can be followed through a torch module step by step."""
    if cell.states and not cell.stepwise:
        return (
            f"{cell.name} gives something else where it is called step by step, each with the state of the"
            " last, as what reads in two directions does; so no state can be followed. Give a module that"
            " reads in one direction"
        )
    if cell.states:
        return None
    return (
        f"{cell.name} takes no state, so that none can be followed; let it take one: forward(x, state=None),"
        " which returns (output, state)"
    )


def forward_path(
    cell: GatedCell, params: Arrays, x: Any, state: Arrays | None = None, dtype: str = "float64"
) -> tuple[Reference, list[np.ndarray]]:
    """The reference program after a forward, and its states, one array (T + 1, B, ...) each.

    Its derivatives use pre-activations.
    """
    kind = NumpyProgram if cell.pointwise else WrittenProgram
    program = kind(cell, params, x.shape[0], x.shape[1], dtype, "cpu", "backward", unsaturated=True)
    program.start(np.asarray(x), state)
    return program, program.path()


class StatesOnly(NumpyProgram):
    """The forward alone, with its states in `rows`: one array (T + 1, B, units) each."""

    def run_forward(self) -> None:
        shape = (self.steps + 1, self.batch, self.units)
        self.rows, self.at = [np.empty(shape) for _ in self.cell.states], 0
        self.put([self._state[s] for s in self.cell.states])
        super().run_forward()

    def put(self, state: Iterable[np.ndarray]) -> None:
        """Writes the states after one more step."""
        for row, value in zip(self.rows, state, strict=True):
            row[self.at] = value
        self.at += 1

    def step_as_written(self, wx: Any, wh: Any) -> Any:
        outputs = super().step_as_written(wx, wh)
        self.put(self.history[0])
        return outputs


def states_of(cell: GatedCell, params: Arrays, x: Any, state: Arrays | None = None) -> list[np.ndarray]:
    """The states alone, one array (T + 1, B, ...) each, in less time and memory than by `forward_path`."""
    if not cell.pointwise:
        return forward_path(cell, params, x, state)[1]
    program = StatesOnly(cell, params, x.shape[0], x.shape[1], "float64", "cpu", "forward")
    program.start(np.asarray(x), state)
    return program.rows


def finite(path: list[np.ndarray]) -> np.ndarray:
    """(B,): the samples whose states are finite at all steps."""
    return np.logical_and.reduce([np.isfinite(s).all((0, *range(2, s.ndim))) for s in path])


def norms(rows: np.ndarray) -> np.ndarray:
    """(B,): norm of each row, scaled by its largest entry, so that no square under- or overflows."""
    largest = np.abs(rows).max(1)
    scale = np.where((largest > 0) & np.isfinite(largest), largest, 1.0)
    return scale * np.sqrt(((rows / scale[:, None]) ** 2).sum(1))
