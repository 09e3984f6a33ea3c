"""What an implementation returned, read as outputs and states."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..contract import State
from . import holders

Arrays = dict[str, Any]
LAYERED = ("layered", "twice_layered")  # forms of states with an axis of layers


class NotCalledSo(Exception):
    """The implementation is not called this way."""


@dataclass(frozen=True)
class Returned:
    """Output (T, B, O) and the last states (B, H) that were returned, in the implementation's own library."""

    output: Any
    state: Arrays


@dataclass(frozen=True)
class Reader:
    """Reads what an implementation returned: shapes of the states by name, and of a step's output.

    form, axes: those of the call. internal: no state goes in, so that none need come out. apart: no tuple of
    states goes in, so that they may come out in any order.
    """

    states: dict[str, tuple[int, ...]]
    output: tuple[int, ...]
    form: str
    internal: bool
    axes: str
    apart: bool

    @property
    def _first(self) -> tuple[str, tuple[int, ...]]:
        return next(iter(self.states.items()))

    def step(self, result: Any) -> tuple[Any, Arrays]:
        """Output and states of one step: h; (h, c); (output, state); (state, output); and more after them."""
        (name, shape), items = self._first, self._items(result)
        first, rest = items[0], items[1:]
        for output, state in self._several(first, rest) if rest and len(self.states) > 1 else ():
            if state and _shape(output) == self.output:
                return output, state
        if _shape(first) != self.output:
            if state := self._state(first):  # (state, output), or the state alone
                return (rest[0] if rest and _shape(rest[0]) == self.output else state[name]), state
        elif rest and (state := self._state(rest[0])):
            return first, state
        elif len(self.states) == 1 and _shape(first) == shape:
            return first, {name: first}
        elif self.internal:
            return first, {}
        raise NotCalledSo(
            f"it returned {_described(result)}; a step must return h {shape}, (h, c), or (output, state)"
        )

    def _several(self, first: Any, rest: list[Any]) -> Iterator[tuple[Any, Arrays | None]]:
        """(output, states) of a cell with several states, as (output, state), (output, h, c) or (h, c)."""
        yield first, self._state(rest[0])
        if len(rest) == len(self.states):
            yield first, self._state(tuple(rest))
        if states := self._state(tuple([first, *rest][: len(self.states)])):
            yield states[self._first[0]], states

    def sequence(self, result: Any, steps: int) -> Returned:
        """Outputs alone, as a list too; the last state before or after them; or every state at every step."""
        place = {"batch_first": 1, "columns": 2}.get(self.axes, 0)
        want = (*self.output[:place], steps, *self.output[place:])
        items = self._items(result)
        outputs = self._outputs(result, want, place)
        if outputs is not None:
            return Returned(outputs, {})
        by_item = [self._outputs(item, want, place) for item in items]
        k = next((k for k, outputs in enumerate(by_item[:2]) if outputs is not None), None)
        if k is None:
            raise NotCalledSo(
                f"it returned {_described(result)}; a sequence must return outputs {want}, alone or with the"
                " last state"
            )
        rest = items[k + 1 :] + items[:k]
        for value in (rest[0], tuple(rest), tuple(rest[: len(self.states)])) if rest else ():
            if state := self._state(value) or self._layered(value):
                return Returned(by_item[k], self._in_order(state, by_item[k][-1]))
        if len(items) == len(self.states) > 1 and all(outputs is not None for outputs in by_item):
            last = {name: outputs[-1] for name, outputs in zip(self.states, by_item, strict=True)}
            return Returned(by_item[0], last)
        return Returned(by_item[k], {})

    def _in_order(self, state: Arrays, last: Any) -> Arrays:
        """Two states with that one first which is the last output, where they came in no known order."""
        names, values = list(state), list(state.values())
        if self.apart and len(names) == 2 and same(values[1], last) and not same(values[0], last):
            return dict(zip(names, values[::-1], strict=True))
        return state

    def _outputs(self, value: Any, want: tuple[int, ...], place: int) -> Any:
        """(T, B, O) of all steps at once or of a list of steps; None where the value is neither.

        place: which axis of `want` has the steps.
        """
        listed = isinstance(value, list | tuple) and len(value) == want[place]
        if listed and all(_shape(v) == self.output for v in value):
            outputs = stack(list(value), 0)
            return outputs.swapaxes(1, 2) if self.axes == "columns" else outputs
        if _shape(value) == want:
            return value.swapaxes(0, place)
        if place == 0 and len(want) == 3 and _shape(value) == (want[0] * want[1], want[2]):
            return value.reshape(want)  # all steps below each other
        return None

    def _layered(self, value: Any) -> Arrays | None:
        """The states by name, where they may have torch's axis of layers, (1, B, H); else None."""
        value = self._one(value)
        values = list(value) if isinstance(value, tuple | list) else [value]
        if len(values) != len(self.states) or not (self.internal or self.form in (*LAYERED, "swapped")):
            return None  # one that went in without that axis was spread over it by chance
        ends = [v[0] if _shape(v) == (1, *self._first[1]) else v for v in values]
        if any(_shape(end) != self._first[1] for end in ends):
            return None
        return dict(zip(self.states, ends[::-1] if self.form == "swapped" else ends, strict=True))

    def _state(self, value: Any) -> Arrays | None:
        """The states by name, from a state in any other form; else None."""
        value = self._one(value)
        if isinstance(value, State) or type(value).__name__ == "SimpleNamespace":
            value = vars(value)
        elif len(held := holders.names(value)) == len(self.states):
            named = zip(holders.order(held, list(self.states)), held, strict=True)
            value = {name: getattr(value, field) for name, field in named}
        if len(self._first[1]) > 2 and isinstance(value, tuple | list):
            value = self._of_layers(value)
        if isinstance(value, dict):
            states = {name: value.get(name) for name in self.states}
        elif len(self.states) == 1 and _shape(value) == self._first[1]:
            return {self._first[0]: value}
        elif isinstance(value, tuple | list) and len(value) == len(self.states):
            states = dict(zip(self.states, value[::-1] if self.form == "swapped" else value, strict=True))
        else:
            return None
        return states if all(_shape(v) == self.states[name] for name, v in states.items()) else None

    def _one(self, value: Any) -> Any:
        """The state that went in twice, of the two that came out; anything else as it is."""
        if not self.form.startswith("twice") or not isinstance(value, tuple | list) or len(value) != 2:
            return value
        if not same(*value):
            raise NotCalledSo("its two states are not the same")
        return value[0]

    def _of_layers(self, value: Any) -> Any:
        """States of a stack that come one by one, layer by layer, together; anything else as it is."""
        each = [tuple(layer) if isinstance(layer, tuple | list) else (layer,) for layer in value]
        shapes = [shape[1:] for shape in self.states.values()]
        if len(each) != self._first[1][0] or any([_shape(v) for v in layer] != shapes for layer in each):
            return value
        by_state = [stack(list(values), 0) for values in zip(*each, strict=True)]
        return dict(zip(self.states, by_state, strict=True))

    def _items(self, result: Any) -> list[Any]:
        """What was returned, one by one; a dict or namespace of the states is one item."""
        if isinstance(result, dict) and not set(self.states) <= set(result):
            return list(result.values())
        return list(result) if isinstance(result, tuple | list) and result else [result]


def same(value: Any, other: Any) -> bool:
    return _shape(value) == _shape(other) and bool((value == other).all())


def turned(state: Arrays) -> Arrays:
    """States (H, B) of states (B, H), and the other way round."""
    return {name: value.swapaxes(0, 1) for name, value in state.items()}


def _shape(value: Any) -> tuple[int, ...] | None:
    return tuple(value.shape) if hasattr(value, "shape") else None


def _described(result: Any) -> str:
    """Shapes of what was returned, for a message."""
    if isinstance(result, tuple | list):
        return f"({', '.join(_described(r) for r in result[:4])})"
    return str(tuple(result.shape)) if hasattr(result, "shape") else type(result).__name__


def stack(values: list[Any], axis: int) -> Any:
    """The values along a new axis."""
    if hasattr(values[0], "detach"):
        import torch

        return torch.stack(values, axis)
    return np.stack(values, axis)
