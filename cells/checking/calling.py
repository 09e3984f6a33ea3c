"""Ways to call an implementation: a step or a sequence, which argument is which, how states go in and out."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ..cell import GatedCell
from . import holders
from .implementation import Implementation, one_line, place
from .returned import LAYERED, Arrays, NotCalledSo, Reader, Returned, stack, turned

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
    states the first alone), twice or twice_layered (a single state, as two that are the same). bag: whether
    arrays that come in one argument are a dict or a tuple.
    """

    sequence: bool
    axes: str
    state: str
    bag: str = "dict"

    def __str__(self) -> str:
        return f"{'a sequence' if self.sequence else 'a step'}, x {SHAPES[self.sequence, self.axes]}"


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
        states = {k: stack([r.state[k] for r in each], 0) for k in each[0].state}
        return Returned(stack([r.output for r in each], 1), states)

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
            x_given, state = x.swapaxes(0, 2), turned(state)
        reader = self._reader(tuple(x.shape[1:-1]), state)
        returned = reader.sequence(self.result(held, x_given, state), len(x))
        return replace(returned, state=turned(returned.state)) if flip else returned

    def _steps(self, held: Arrays, x: Any, state: Arrays) -> Returned:
        flip = self.call.axes == "columns"
        if flip:
            state = turned(state)
        outputs, reader = [], self._reader(tuple(x.shape[1:-1]), state)
        for x_t in x:
            output, new = reader.step(self.result(held, x_t.swapaxes(0, 1) if flip else x_t, state))
            outputs.append(output.swapaxes(0, 1) if flip else output)
            state = new if self.takes_state else state  # what takes no state keeps it inside
        last = state if self.takes_state else {}
        return Returned(stack(outputs, 0), turned(last) if flip else last)

    def _reader(self, lead: tuple[int, ...], state: Arrays) -> Reader:
        shapes = {name: tuple(value.shape) for name, value in state.items()}
        output = (self.width, *lead) if self.call.axes == "columns" else (*lead, self.width)
        apart = "state" not in self.roles.values()
        return Reader(shapes, output, self.call.state, not self.takes_state, self.call.axes, apart)

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
        return value[None] if self.call.state in LAYERED else value

    def _joint(self, state: Arrays) -> Any:
        """All states in one argument."""
        values = [self._layered(value) for value in state.values()]
        if self.call.state == "dict":
            return _bag(zip(state, values, strict=True), [])
        if self.call.state == "swapped":
            return tuple(values[::-1])
        if self.call.state.startswith("twice"):
            return values[0], values[0]
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
    if stateful and len(cell.states) == 1 and not cell.stacked:
        forms = [(call, state) for call in order for state in ("twice", "twice_layered")]
        yield from (Call(*call, state, bag) for call, state in forms for bag in bags)
    if len(cell.states) > 1 and not cell.stacked and cell.states[0] in implementation.roles.values():
        yield from (Call(True, axes, "first", bag) for _, axes in sequences for bag in bags)


def _sequence_axes(implementation: Implementation) -> tuple[str, ...]:
    if implementation.batch_first:
        return ("batch_first",)
    text = implementation.text.replace(" ", "").lower()
    first = implementation.batch_first is None and any(words in text for words in BATCH_FIRST)
    return ("batch_first", "rows") if first else ("rows", "batch_first")
