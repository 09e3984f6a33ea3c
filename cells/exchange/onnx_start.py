"""How the sequences of an ONNX model begin and end: the first states and lengths that its file holds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..cell import GatedCell
from .layouts import Arrays, float64
from .onnx_chain import CUT, Chain, Part
from .onnx_trace import Labels, Trace


@dataclass(frozen=True)
class Start:
    """What a model holds of how its sequences begin and end, and no cell has.

    state is the first state by name, as a program takes it: (B, H), of a stack (layers * directions, B, H);
    None for zeros. B is 1 where the model repeats it for every sequence. lengths are (B,); None for whole
    sequences.
    """

    state: Arrays | None = None
    lengths: np.ndarray | None = None

    def of_batch(self, batch: int) -> Arrays | None:
        """The first state for a batch of this size: of B = 1, it is repeated."""
        return self.state and {
            name: np.broadcast_to(value, (*value.shape[:-2], batch, value.shape[-1])).copy()
            for name, value in self.state.items()
        }


def held_batch(traced: Trace) -> int | None:
    """The batch that a first state or lengths have which the file holds."""
    for layer in traced.layers:
        lengths, state = layer.slots.get("sequence_lens"), layer.slots.get("initial_h")
        if isinstance(lengths, np.ndarray) and lengths.ndim == 1:
            return len(lengths) or None
        if isinstance(state, np.ndarray) and state.ndim == 3:
            return state.shape[1] or None
    return None


def state_of(traced: Trace, chained: Chain, cell: GatedCell, batch: int | None) -> Arrays | None:
    """The first state that the file holds; None where that is zero, or an input."""
    found = {name: np.stack([_first(traced, part, name) for part in chained.parts]) for name in cell.states}
    if not any(np.any(value) for value in found.values()):
        return None
    if batch is None and all((value == value[:, :1]).all() for value in found.values()):
        found = {name: value[:, :1] for name, value in found.items()}
    return found if cell.stacked else {name: value[0] for name, value in found.items()}


def _first(traced: Trace, part: Part, name: str) -> np.ndarray:
    """One part's first state (B, H): zeros where it is left out, or an input of the model."""
    layer, slot = part.layer, f"initial_{name}"
    directions, batch, hidden = layer.y.shape[1:]
    value = layer.slots.get(slot)
    if value is None:
        return np.zeros((batch, hidden))
    shape = value.ids.shape if isinstance(value, Labels) else getattr(value, "shape", ())
    if shape != (directions, batch, hidden):
        raise ValueError(f"{layer.what}: {slot} is {shape}; it must be {(directions, batch, hidden)}")
    if isinstance(value, Labels):
        _check_given(traced, value, f"{layer.what}: {slot}")
        return np.zeros((batch, hidden))
    return float64(value[part.direction])  # type: ignore[index]


def _check_given(traced: Trace, value: Labels, what: str) -> None:
    """Raises ValueError unless the labels are those of inputs other than x."""
    x = traced.layers[0].slots["X"].ids  # type: ignore[union-attr]
    if value.ids.max() >= sum(ids.size for ids in traced.inputs.values()) or np.isin(value.ids, x).any():
        raise ValueError(
            f"{what} comes from x or another layer (as in an encoder and its decoder); a cell's first state"
            f" is given, held or zero: {CUT}"
        )


def lengths_of(traced: Trace, chained: Chain, later: Chain | None) -> np.ndarray | None:
    """The lengths that the file holds; None where there are none, all are the steps, or they are an input."""
    found = [part.layer.slots.get("sequence_lens") for part in chained.parts]
    if len({type(value) for value in found}) > 1 or not _equal(found):
        what = chained.parts[-1].layer.what
        raise ValueError(f"{what} has other sequence_lens than the first layer; a stack has the same in all")
    first, what = found[0], f"{chained.parts[0].layer.what}: sequence_lens"
    if isinstance(first, Labels):
        _check_given(traced, first, what)
    if not isinstance(first, np.ndarray):
        return None
    steps, _, batch, _ = chained.parts[0].layer.y.shape
    if first.shape != (batch,):
        raise ValueError(f"{what} is {first.shape}; it must be one length a sequence, {(batch,)}")
    grown = later.parts[0].layer.slots["sequence_lens"] if later is not None else None
    if isinstance(grown, np.ndarray) and not np.array_equal(grown, first):
        steps, first = steps + 1, grown
        if (first != steps).any():
            raise ValueError(f"{what} depends on the number of steps; it must be constant, an input, or all")
    longest = steps if later is None or (isinstance(grown, np.ndarray) and grown is first) else first.max()
    if (first < 1).any() or (first > longest).any():
        raise ValueError(f"{what} is {first.tolist()}; each must be from 1 to the number of steps, {longest}")
    whole = (first == steps).all() and (later is None or first is grown)
    return None if whole else first.astype(np.int64)


def _equal(values: Iterable[Any]) -> bool:
    """Whether all are the same: nothing, labels or numbers."""
    plain = [value.ids if isinstance(value, Labels) else value for value in values]
    return all((value is None and plain[0] is None) or np.array_equal(value, plain[0]) for value in plain)
