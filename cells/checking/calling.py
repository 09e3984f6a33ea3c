"""Ways to call an implementation: a step or a sequence, which argument is which, how states go in and out."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ..cell import GatedCell
from ..contract import State
from . import holders
from .implementation import Implementation, one_line, place

Arrays = dict[str, Any]
SHAPES = {
    (False, "rows"): "(B, I)",
    (False, "vectors"): "(I,)",
    (False, "columns"): "(I, B)",
    (False, "column"): "(I, 1)",
    (True, "rows"): "(T, B, I)",
    (True, "batch_first"): "(B, T, I)",
    (True, "vectors"): "(T, I)",
    (True, "columns"): "(I, B, T)",
}
STATES = {"h", "c", "n", "m", "hx", "cx", "h_prev", "c_prev", "hidden", "cell", "memory"}
# what the text of a function that reads x as (B, T, I) has somewhere, in lower case and without spaces
BATCH_FIRST = ["batch_first", "(b,t", "(batch,seq", "(batch,t", "(n,t", "(n,l", "b,t,"]
BATCH_FIRST += ["[:,t", ".size(1)", ".shape[1]"]


@dataclass(frozen=True)
class Call:
    """One way to call.

    axes: rows, vectors, columns, column or batch_first (see SHAPES). state: plain (an array, or a tuple of
    arrays), tuple, dict, layered ((1, B, H) each), swapped (the tuple backwards), listed (of a stack, an item
    for each layer), held (an object of the class that the argument's annotation names), first (of several
    states the first alone). bag: whether arrays that come in one argument are a dict or a tuple.
    """

    sequence: bool
    axes: str
    state: str
    bag: str = "dict"

    def __str__(self) -> str:
        return f"{'a sequence' if self.sequence else 'a step'}, x {SHAPES[self.sequence, self.axes]}"


class NotCalledSo(Exception):
    """The implementation is not called this way."""


@dataclass(frozen=True)
class Returned:
    """Output (T, B, O) and the last states (B, H) that were returned, in the implementation's own library."""

    output: Any
    state: Arrays


class Bag(dict[Any, Any]):
    """Arrays by key or by attribute; `missed` gets the keys that were asked for in vain."""

    missed: list[str]

    def __missing__(self, key: Any) -> Any:
        self.missed.append(str(key))
        raise KeyError(key)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self[name]


def _bag(values: Any, missed: list[str]) -> Bag:
    bag = Bag(values)
    vars(bag)["missed"] = missed
    return bag


@dataclass(frozen=True)
class Way:
    """One way to run an implementation as a cell whose output has `width` columns.

    roles: each argument's, in their order: x, state, params, array, the name of a state, input or hidden
    (sizes); {"": "x"} where they have no names.
    """

    implementation: Implementation
    cell: GatedCell
    width: int
    roles: dict[str, str]
    call: Call

    @cached_property
    def takes_state(self) -> bool:
        """Whether a state goes in."""
        return any(role == "state" or role in self.cell.states for role in self.roles.values())

    @property
    def taken(self) -> tuple[str, ...]:
        """The states that go in; the others start from zero."""
        states = self.cell.states if self.takes_state else ()
        return states[:1] if self.call.state == "first" else states

    def run(self, held: Arrays, x: Any, state: Arrays) -> Returned:
        """Output and last states, all in the implementation's library, from x (T, B, I) and states (B, H).

        Raises NotCalledSo where other shapes come back.
        """
        if self.call.axes not in ("vectors", "column"):
            return self._run(held, x, state)
        each = [self._alone(held, x, state, b) for b in range(x.shape[1])]
        states = {k: _stack([r.state[k] for r in each], 0) for k in each[0].state}
        return Returned(_stack([r.output for r in each], 1), states)

    def _alone(self, held: Arrays, x: Any, state: Arrays, b: int) -> Returned:
        """The sequence b alone: output (T, O) and last states (H,)."""
        if self.call.axes == "vectors":
            return self._run(held, x[:, b], {k: v[b] for k, v in state.items()})
        one = self._called(self.call.state, "columns")
        returned = one._run(held, x[:, b : b + 1], {k: v[b : b + 1] for k, v in state.items()})
        return Returned(returned.output[:, 0], {k: v[0] for k, v in returned.state.items()})

    def attempt(self, held: Arrays, x: Any, state: Arrays) -> Returned | str:
        """What `run` returns, or in a line why it is not called this way."""
        try:
            with np.errstate(all="ignore"):
                return self.run(held, x, state)
        except Exception as error:  # somebody's code: whatever it raises says that this was not the way
            return str(error) if isinstance(error, NotCalledSo) else f"{one_line(error)}{place(error)}"

    def others(self) -> Iterator[tuple[str, Way]]:
        """Other ways that may have been meant, though this one could be called: (words, way)."""
        call, states = self.call, self.cell.states
        if "state" in self.roles.values() and len(states) == 2 and call.state in ("plain", "tuple"):
            yield f"the state taken as ({', '.join(states[::-1])})", self._called("swapped", call.axes)
        if not self.takes_state:
            ways = (
                (other, replace(self, call=other)) for other in _calls(self.implementation, False, self.cell)
            )
            yield from ((f"called as {other}", way) for other, way in ways if other != call)
        elif call.sequence and call.axes in ("rows", "batch_first"):
            axes = "batch_first" if call.axes == "rows" else "rows"
            yield f"x read as {SHAPES[True, axes]}", self._called(call.state, axes)

    def _called(self, state: str, axes: str) -> Way:
        return replace(self, call=replace(self.call, state=state, axes=axes))

    def _run(self, held: Arrays, x: Any, state: Arrays) -> Returned:
        """The same of rows, batch first, columns, or one sequence of vectors."""
        if not self.call.sequence:
            return self._steps(held, x, state)
        x_given, flip = x, self.call.axes == "columns"
        if self.call.axes == "batch_first":
            x_given = x.swapaxes(0, 1)
        elif flip:
            x_given, state = x.swapaxes(0, 2), _turned(state)
        reader = self._reader(tuple(x.shape[1:-1]), state)
        returned = reader.sequence(self.result(held, x_given, state), len(x))
        return replace(returned, state=_turned(returned.state)) if flip else returned

    def _steps(self, held: Arrays, x: Any, state: Arrays) -> Returned:
        flip = self.call.axes == "columns"
        if flip:
            state = _turned(state)
        outputs, reader = [], self._reader(tuple(x.shape[1:-1]), state)
        for x_t in x:
            output, new = reader.step(self.result(held, x_t.swapaxes(0, 1) if flip else x_t, state))
            outputs.append(output.swapaxes(0, 1) if flip else output)
            state = new if self.takes_state else state  # what takes no state keeps it inside
        last = state if self.takes_state else {}
        return Returned(_stack(outputs, 0), _turned(last) if flip else last)

    def _reader(self, lead: tuple[int, ...], state: Arrays) -> _Reader:
        shapes = {name: tuple(value.shape) for name, value in state.items()}
        output = (self.width, *lead) if self.call.axes == "columns" else (*lead, self.width)
        apart = "state" not in self.roles.values()
        return _Reader(shapes, output, self.call.state, not self.takes_state, self.call.axes, apart)

    def result(self, held: Arrays, x: Any, state: Arrays) -> Any:
        """What one call returns, of x and states as it takes them."""
        if list(self.roles) == [""]:
            return self.implementation.function(x, self._joint(state))
        values = {name: self._value(name, held, x, state) for name in self.roles}
        if self._positional:
            return self.implementation.function(*values.values())
        return self.implementation.function(**values)

    @cached_property
    def _positional(self) -> bool:
        """Whether arguments may not be given by name."""
        kinds = (self.implementation.parameters[name].kind for name in self.roles)
        return any(kind == inspect.Parameter.POSITIONAL_ONLY for kind in kinds)

    def _value(self, name: str, held: Arrays, x: Any, state: Arrays) -> Any:
        """What an argument is given."""
        role = self.roles[name]
        if role == "x":
            return x
        if role in state:
            return self._layered(state[role])
        match role:
            case "state":
                return self._joint(state)
            case "params":
                return (
                    tuple(held.values())
                    if self.call.bag == "tuple"
                    else _bag(held, self.implementation.missed)
                )
            case "array":
                if name not in held:
                    raise NotCalledSo(f"its argument {name} is not read as an array of the cell")
                return held[name]
        return x.shape[-1] if role == "input" else next(iter(state.values())).shape[-1]

    def _layered(self, value: Any) -> Any:
        return value[None] if self.call.state == "layered" else value

    def _joint(self, state: Arrays) -> Any:
        """All states in one argument."""
        values = [self._layered(value) for value in state.values()]
        if self.call.state == "dict":
            return _bag(zip(state, values, strict=True), [])
        if self.call.state == "swapped":
            return tuple(values[::-1])
        if self.call.state == "held":
            [argument] = [name for name, role in self.roles.items() if role == "state"]
            kind = holders.annotated(self.implementation.function, argument, len(state))
            if kind is None:
                raise NotCalledSo("the state's annotation names no class")
            return kind(*(state[name] for name in holders.order(holders.names(kind), list(state))))
        if self.call.state == "listed":
            return [layer if len(layer) > 1 else layer[0] for layer in zip(*values, strict=True)]
        alone = self.call.state == "first" or (len(values) == 1 and self.call.state != "tuple")
        return values[0] if alone else tuple(values)


@dataclass(frozen=True)
class _Reader:
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
        if self.apart and len(names) == 2 and _same(values[1], last) and not _same(values[0], last):
            return dict(zip(names, values[::-1], strict=True))
        return state

    def _outputs(self, value: Any, want: tuple[int, ...], place: int) -> Any:
        """(T, B, O) of all steps at once or of a list of steps; None where the value is neither.

        place: which axis of `want` has the steps.
        """
        listed = isinstance(value, list | tuple) and len(value) == want[place]
        if listed and all(_shape(v) == self.output for v in value):
            outputs = _stack(list(value), 0)
            return outputs.swapaxes(1, 2) if self.axes == "columns" else outputs
        if _shape(value) == want:
            return value.swapaxes(0, place)
        if place == 0 and len(want) == 3 and _shape(value) == (want[0] * want[1], want[2]):
            return value.reshape(want)  # all steps below each other
        return None

    def _layered(self, value: Any) -> Arrays | None:
        """The states by name, where they may have torch's axis of layers, (1, B, H); else None."""
        values = list(value) if isinstance(value, tuple | list) else [value]
        if len(values) != len(self.states) or not (self.internal or self.form in ("layered", "swapped")):
            return None  # one that went in without that axis was spread over it by chance
        ends = [v[0] if _shape(v) == (1, *self._first[1]) else v for v in values]
        if any(_shape(end) != self._first[1] for end in ends):
            return None
        return dict(zip(self.states, ends[::-1] if self.form == "swapped" else ends, strict=True))

    def _state(self, value: Any) -> Arrays | None:
        """The states by name, from a state in any other form; else None."""
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

    def _of_layers(self, value: Any) -> Any:
        """States of a stack that come one by one, layer by layer, together; anything else as it is."""
        each = [tuple(layer) if isinstance(layer, tuple | list) else (layer,) for layer in value]
        shapes = [shape[1:] for shape in self.states.values()]
        if len(each) != self._first[1][0] or any([_shape(v) for v in layer] != shapes for layer in each):
            return value
        by_state = [_stack(list(values), 0) for values in zip(*each, strict=True)]
        return dict(zip(self.states, by_state, strict=True))

    def _items(self, result: Any) -> list[Any]:
        """What was returned, one by one; a dict or namespace of the states is one item."""
        if isinstance(result, dict) and not set(self.states) <= set(result):
            return list(result.values())
        return list(result) if isinstance(result, tuple | list) and result else [result]


def _same(value: Any, other: Any) -> bool:
    return _shape(value) == _shape(other) and bool((value == other).all())


def _turned(state: Arrays) -> Arrays:
    """States (H, B) of states (B, H), and the other way round."""
    return {name: value.swapaxes(0, 1) for name, value in state.items()}


def _shape(value: Any) -> tuple[int, ...] | None:
    return tuple(value.shape) if hasattr(value, "shape") else None


def _described(result: Any) -> str:
    """Shapes of what was returned, for a message."""
    if isinstance(result, tuple | list):
        return f"({', '.join(_described(r) for r in result[:4])})"
    return str(tuple(result.shape)) if hasattr(result, "shape") else type(result).__name__


def _stack(values: list[Any], axis: int) -> Any:
    """The values along a new axis."""
    if hasattr(values[0], "detach"):
        import torch

        return torch.stack(values, axis)
    return np.stack(values, axis)


def ways(implementation: Implementation, cell: GatedCell, width: int, names: list[str]) -> list[Way]:
    """Every way to call an implementation whose arguments `names` are arrays, likeliest first.

    Raises ValueError for arguments that are not understood.
    """
    roles = _bind(implementation, cell, names)
    any_way = Way(implementation, cell, width, roles, Call(False, "rows", "plain"))
    return [replace(any_way, call=call) for call in _calls(implementation, any_way.takes_state, cell)]


def _bind(implementation: Implementation, cell: GatedCell, names: list[str]) -> dict[str, str]:
    """The role of each argument, as `Way` has them; `names` are arrays.

    Raises ValueError for arguments that are not understood.
    """
    bound: dict[str, str] = {}
    unknown = []
    for name, parameter in implementation.parameters.items():
        if parameter.kind == parameter.VAR_KEYWORD:
            continue
        if parameter.kind == parameter.VAR_POSITIONAL:
            return bound or {"": "x"}
        role = "params" if name == implementation.keys else implementation.roles[name]
        role = "array" if name in names else role
        needed = parameter.default is parameter.empty
        if role is not None and (needed or role not in ("input", "hidden")):
            bound[name] = role
        elif needed:
            unknown.append(name)
    bound |= _rest(implementation, cell, set(bound.values()), unknown)
    states = [name for name, role in bound.items() if role in cell.states]
    if "state" not in bound.values() and len(states) == 1 and len(cell.states) > 1:
        bound[states[0]] = "state"  # torch's hx is both states
    return {name: bound[name] for name in implementation.parameters if name in bound}


def _rest(
    implementation: Implementation, cell: GatedCell, bound: set[str], unknown: list[str]
) -> dict[str, str]:
    """The roles of arguments whose names say nothing: x, then the state, where no other argument is that."""
    missing = [] if "x" in bound else ["x"]
    missing += [] if bound & {"state", *cell.states} else ["state"]
    if len(unknown) > len(missing) or ("x" in missing and not unknown):
        signature = inspect.signature(implementation.function)
        states = [name for name, role in implementation.roles.items() if role in ("state", "h", "c")]
        states += [name for name in unknown[len(missing) :] if name in STATES]
        if len(states) > len(cell.states) and states[-1] in unknown:
            raise ValueError(
                f"{implementation.label}{signature} takes {len(states)} states ({', '.join(states)}),"
                f" and cell {cell.name!r} has {len(cell.states)} ({', '.join(cell.states)})"
            )
        raise ValueError(
            f"{implementation.label}{signature}: {', '.join(unknown[len(missing) :]) or 'x'}"
            " is not understood; name the input x, the states as the cell does (h, c) or state, the arrays"
            " W..., U..., b... or params"
        )
    return dict(zip(unknown, missing, strict=False))


def _calls(implementation: Implementation, stateful: bool, cell: GatedCell) -> Iterator[Call]:
    """Ways to call an implementation, likeliest first. stateful: it takes a state."""
    states = ("plain", "tuple", "layered", "dict", "held") if stateful else ("plain",)
    bags = ("dict", "tuple") if implementation.keys else ("dict",)
    layouts = [(False, axes) for axes in ("rows", "vectors", "columns", "column")]
    sequences = [(True, axes) for axes in (*_sequence_axes(implementation), "vectors", "columns")]
    # what takes no state and has a loop runs over the steps itself
    looped = not stateful and "for " in implementation.text
    order = sequences + layouts if looped else layouts + sequences
    if cell.stacked:  # its states have an axis of layers in front; in both directions it has no steps
        order = sequences[:-2] + ([] if cell.bidirectional else layouts[:1])
        states = (*states, "listed") if stateful else states
    for sequence, axes in order:
        yield from (Call(sequence, axes, state, bag) for state in states for bag in bags)
    if len(cell.states) > 1 and not cell.stacked and cell.states[0] in implementation.roles.values():
        yield from (Call(True, axes, "first", bag) for _, axes in sequences for bag in bags)


def _sequence_axes(implementation: Implementation) -> tuple[str, ...]:
    if implementation.batch_first:
        return ("batch_first",)
    text = implementation.text.replace(" ", "").lower()
    first = implementation.batch_first is None and any(words in text for words in BATCH_FIRST)
    return ("batch_first", "rows") if first else ("rows", "batch_first")
