"""What a step or a sequence returned, as an output and states: in whichever form and order they come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..cell import GatedCell
from ..contract import State

Arrays = dict[str, Any]


class NotSo(Exception):
    """The thing is not called this way."""


@dataclass(frozen=True)
class Made:
    """Output (T, B, O) and the last states (B, H) that were returned, in the thing's own library."""

    output: Any
    state: Arrays


def of_step(
    result: Any, cell: GatedCell, state: Arrays, wide: tuple[int, ...], swapped: bool, internal: bool
) -> tuple[Any, Arrays]:
    """Output and states of one step, from what it returned: h; (h, c); (output, state); (state, output); and
    more after them.
    """
    shapes = {k: tuple(v.shape) for k, v in state.items()}
    shape = shapes[cell.states[0]]
    items = _items(result, cell)

    def states(value: Any) -> Arrays | None:
        return _states(value, cell, swapped, shapes)

    first, rest = items[0], items[1:]
    if len(items) > 1 and len(cell.states) > 1:
        together = states(tuple(items[: len(cell.states)]))
        if _shape(first) == wide and states(rest[0]) and _shape(rest[0]) != shape:
            return first, states(rest[0])  # type: ignore[return-value]
        if _shape(first) == wide and len(rest) == len(cell.states) and states(tuple(rest)):
            return first, states(tuple(rest))  # type: ignore[return-value]
        if together and _shape(together[cell.states[0]]) == wide:
            return together[cell.states[0]], together
    if _shape(first) != wide and states(first):  # (state, output), or the state alone
        new = states(first)
        assert new is not None
        return (rest[0] if rest and _shape(rest[0]) == wide else new[cell.states[0]]), new
    if _shape(first) == wide:
        if rest and states(rest[0]):
            return first, states(rest[0])  # type: ignore[return-value]
        if len(cell.states) == 1 and _shape(first) == shape:
            return first, {cell.states[0]: first}
        if internal:
            return first, {}
    raise NotSo(f"it returned {_shape_of(result)}; a step must return h {shape}, (h, c), or (output, state)")


def _states(value: Any, cell: GatedCell, swapped: bool, shapes: dict[str, tuple[int, ...]]) -> Arrays | None:
    """{name: array} of a state in any of its forms, or None."""
    names = cell.states

    def fits(value: Any, name: str) -> bool:
        return _shape(value) == shapes[name]

    if isinstance(value, State) or type(value).__name__ == "SimpleNamespace":
        value = vars(value)
    if isinstance(value, dict):
        return {n: value[n] for n in names} if all(fits(value.get(n), n) for n in names) else None
    if len(names) == 1 and fits(value, names[0]):
        return {names[0]: value}
    if isinstance(value, tuple | list) and len(value) == len(names):
        found = dict(zip(names, value[::-1] if swapped else value, strict=True))
        return found if all(fits(v, n) for n, v in found.items()) else None
    return None


def _items(result: Any, cell: GatedCell) -> list[Any]:
    """What was returned, one by one; a dict or namespace of the states is one item."""
    if isinstance(result, dict) and not set(cell.states) <= set(result):
        return list(result.values())
    return list(result) if isinstance(result, tuple | list) and result else [result]


def of_sequence(
    result: Any,
    cell: GatedCell,
    lead: tuple[int, ...],
    state: Arrays,
    width: int,
    swapped: bool,
    batch_first: bool,
) -> Made:
    """Output and last states of a sequence: outputs alone, as a list too; with the last state; every state at
    every step.
    """
    shapes = {k: tuple(v.shape) for k, v in state.items()}
    shape = shapes[cell.states[0]]
    want = (*(lead[::-1] if batch_first else lead), width)

    def whole(value: Any) -> Any:
        if (
            isinstance(value, list | tuple)
            and len(value) == lead[0]
            and all(_shape(v) == (*lead[1:], width) for v in value)
        ):
            return stack(list(value), 0)
        if _shape(value) == want:
            return value.swapaxes(0, 1) if batch_first else value
        return None

    def last(value: Any) -> Any:
        """A state without the axis of torch's layers."""
        if _shape(value) == (1, *shape):
            return value[0]
        return value if _shape(value) == shape else None

    items = _items(result, cell)
    if whole(result) is not None:
        return Made(whole(result), {})
    for k in (0, 1):
        if k >= len(items) or whole(items[k]) is None:
            continue
        rest = items[k + 1 :] + items[:k]
        options = [rest[0], tuple(rest), tuple(rest[: len(cell.states)])] if rest else []
        for option in options:
            parts = list(option) if isinstance(option, tuple | list) else [option]
            ends = [last(p) for p in parts]
            found = _states(option, cell, swapped, shapes)
            if found is None and len(parts) == len(cell.states) and all(e is not None for e in ends):
                found = dict(zip(cell.states, ends[::-1] if swapped else ends, strict=True))
            if found is not None:
                return Made(whole(items[k]), found)
        if len(items) == len(cell.states) > 1 and all(
            whole(i) is not None for i in items
        ):  # every state at every step
            return Made(whole(items[0]), {n: whole(i)[-1] for n, i in zip(cell.states, items, strict=True)})
        return Made(whole(items[k]), {})
    raise NotSo(
        f"it returned {_shape_of(result)}; a sequence must return outputs {want}, alone or with the last"
        " state"
    )


def _shape(value: Any) -> tuple[int, ...] | None:
    return tuple(value.shape) if hasattr(value, "shape") else None


def _shape_of(result: Any) -> str:
    if isinstance(result, tuple | list):
        return f"({', '.join(_shape_of(r) for r in result[:4])})"
    return str(tuple(result.shape)) if hasattr(result, "shape") else type(result).__name__


def stack(parts: list[Any], axis: int) -> Any:
    """The parts along a new axis."""
    if hasattr(parts[0], "detach"):
        import torch

        return torch.stack(parts, axis)
    return np.stack(parts, axis)
