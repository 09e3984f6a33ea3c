"""Sequences of different lengths in one batch: the cell that stops at a length, and the order in which a
direction reads.

The cell that stops is derived from the cell's own text, so that every backend computes it as it computes the
cell: x has one more column, 1 within a sequence and 0 beyond it, and a state beyond it stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from functools import lru_cache
from typing import Any

import numpy as np

from ..contract import GatedCell, State, whole
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
    """(T, B): the step of its sequence that a direction reads at each t; beyond the length, the last one that
    it read.

    Reading the same step again, and not whatever padding holds, keeps NaN out of products with zero
    cotangents.
    """
    t = np.arange(steps)[:, None]
    return np.maximum(lengths - 1 - t, 0) if reverse else np.minimum(t, lengths - 1)


class Stopping:
    """What a cell that stops has in place of the cell's own. `cell` is that."""

    cell: GatedCell
    states: tuple[str, ...]

    def shapes(self, input_size: int, hidden_size: int) -> dict[str, tuple[int, ...]]:
        return self.cell.shapes(input_size - 1, hidden_size)

    def emitted(self, input_size: int, hidden_size: int) -> int:
        return self.cell.emitted(input_size - 1, hidden_size)

    def unfit(self, input_size: int, hidden_size: int) -> str | None:
        return self.cell.unfit(input_size - 1, hidden_size)

    def sizes(self, params: dict[str, Any]) -> tuple[int, int]:
        input_size, hidden_size = self.cell.sizes(params)
        return input_size + 1, hidden_size

    def project(self, params: dict[str, Any], x: Any) -> State:
        return State(**vars(self.cell.project(params, x[..., :-1])), **{WITHIN: column(x)})

    def equations(self, wx: State, wh: State, prev: State, *unit: State) -> tuple[Any, State]:
        made = self.cell.equations(wx, wh, prev, *unit)
        output, new = made if isinstance(made, tuple) else (getattr(made, self.states[0]), made)
        return stopped(output, new, prev, dict.fromkeys(vars(new), getattr(wx, WITHIN)))


def column(x: Any) -> Any:
    """The column that says what is within, which has no gradient."""
    return array_of(x)[..., -1:]


def stopped(output: Any, new: State, prev: State, within: dict[str, Any]) -> tuple[Any, State]:
    """Outputs and states with each state as it was where its `within` is 0; an output that is a state is that
    state again.
    """
    held = {s: within[s] * value + (1 - within[s]) * getattr(prev, s) for s, value in vars(new).items()}

    def found(value: Any) -> Any:
        return next((held[s] for s, own in vars(new).items() if own is value), value)

    return tuple(map(found, output)) if isinstance(output, tuple) else found(output), State(**held)


def _step(self: Any, params: dict[str, Any], x: Any, state: State) -> tuple[Any, State]:
    """The step of a cell that writes it out."""
    output, new = self.cell.step(params, x[..., :-1], state)
    within = {name: column(x).reshape(-1, *[1] * (len(value.shape) - 1)) for name, value in vars(new).items()}
    return stopped(output, new, state, within)


def _emit(self: Any, params: dict[str, Any], x: Any, output: Any) -> Any:
    return self.cell.emit(params, x[..., :-1], output)


def _effective(self: Any, params: dict[str, Any]) -> dict[str, Any]:
    return self.cell.effective(params)


@lru_cache(maxsize=256)
def stopping(cell: GatedCell) -> GatedCell:
    """The cell that keeps its state where the last column of x is 0; its other columns are the cell's x."""
    base = type(cell)
    members: dict[str, Any] = {"__module__": base.__module__, "__qualname__": base.__qualname__, "cell": cell}
    if not cell.written_out:
        members |= {"gates": (*cell.gates, WITHIN), "recurrent_gates": cell.recurrent}
    # what a cell does not write itself is left alone, for backends ask for it
    for name, function in (("step", _step), ("emit", _emit), ("effective", _effective)):
        if getattr(base, name) is not getattr(GatedCell, name):
            members[name] = function
    kind: Any = type(base.__name__, (Stopping, base), members)
    return kind(**{f.name: getattr(cell, f.name) for f in fields(cell) if f.init})
