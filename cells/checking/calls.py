"""How a user's thing is called: a step or a whole sequence, which argument is which, how states go in and
come out.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..cell import GatedCell
from .names import roles, size_role
from .returned import Made, NotSo, of_sequence, of_step, stack
from .source import text
from .things import Thing, said

Arrays = dict[str, Any]


@dataclass(frozen=True)
class Call:
    """One way to call. axes: rows (B, I), vectors (I,), columns (I, B); of a sequence (T, B, I), (B, T, I),
    (T, I).

    state: plain (an array, or a tuple of arrays), tuple, dict, layered ((1, B, H) each), swapped (the tuple
    backwards). bag: whether arrays that come in one argument are a dict or a tuple.
    """

    sequence: bool
    axes: str
    state: str
    bag: str = "dict"

    def __str__(self) -> str:
        shape = (
            {"rows": "(T, B, I)", "batch_first": "(B, T, I)", "vectors": "(T, I)"}
            if self.sequence
            else {"rows": "(B, I)", "vectors": "(I,)", "columns": "(I, B)"}
        )
        return f"{'a sequence' if self.sequence else 'a step'}, x {shape[self.axes]}"


class Bag(dict):
    """Arrays by key or by attribute. `missed` has the keys that were asked for in vain."""

    missed: list[str]

    def __missing__(self, key: Any) -> Any:
        self.missed.append(str(key))
        raise KeyError(key)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self[name]


def bag(values: Any, missed: list[str]) -> Bag:
    made = Bag(values)
    vars(made)["missed"] = missed
    return made


def calls(thing: Thing, cell: GatedCell, stateful: bool) -> Iterator[Call]:
    """Ways to call it, likeliest first. `stateful`: it takes a state."""
    states = ("plain", "tuple", "layered", "dict") if stateful else ("plain",)
    first = thing.batch_first or _says_batch_first(thing)
    over = (
        ("batch_first",)
        if thing.batch_first
        else ("batch_first", "rows")
        if first
        else ("rows", "batch_first")
    )
    ways = [(False, ("rows", "vectors", "columns")), (True, (*over, "vectors"))]
    if not stateful and "for " in text(thing.function):
        ways.reverse()
    for sequence, axes in ways:
        for way in axes:
            for state in states:
                yield from (
                    Call(sequence, way, state, bag)
                    for bag in (("dict", "tuple") if thing.keys else ("dict",))
                )


BATCH_FIRST = (
    "batch_first",
    "(b,t",
    "(batch,seq",
    "(batch,t",
    "(n,t",
    "(n,l",
    "b,t,",
    "[:,t",
    ".size(1)",
    ".shape[1]",
)


def _says_batch_first(thing: Thing) -> bool:
    said = text(thing.function).replace(" ", "").lower()
    return any(words in said for words in BATCH_FIRST)


def binding(thing: Thing, cell: GatedCell, names: list[str]) -> dict[str, str]:
    """What each argument is: x, state, params, array, the name of a state, input or hidden size. Raises
    ValueError otherwise.
    """
    bound: dict[str, str] = {}
    unknown = []
    parameters = inspect.signature(thing.function).parameters
    said_by = roles(parameters, cell)
    for name, parameter in parameters.items():
        if parameter.kind == parameter.VAR_KEYWORD:
            continue
        if parameter.kind == parameter.VAR_POSITIONAL:
            return bound or {"": "x"}
        what = "params" if name == thing.keys else said_by[name]
        what = "array" if name in names else what
        what = what or size_role(name)
        if what is not None and not (
            what in ("input", "hidden") and parameter.default is not parameter.empty
        ):
            bound[name] = what
        elif parameter.default is parameter.empty:
            unknown.append(name)
    missing = [
        w
        for w in ("x", "state")
        if w not in bound.values() and not (w == "state" and set(cell.states) & {*bound.values()})
    ]
    bound |= dict(zip(unknown, missing, strict=False))
    if len(unknown) > len(missing) or "x" not in bound.values():
        raise ValueError(
            f"{thing.label}{inspect.signature(thing.function)}: {', '.join(unknown[len(missing) :]) or 'x'}"
            " is not understood; name the input x, the states as the cell does (h, c) or state, the arrays"
            " W..., U..., b... or params"
        )
    own = [n for n, w in bound.items() if w in cell.states]
    if "state" not in bound.values() and len(own) == 1 and len(cell.states) > 1:
        bound[own[0]] = "state"  # torch's hx is both states
    order = list(inspect.signature(thing.function).parameters)
    return dict(sorted(bound.items(), key=lambda item: order.index(item[0])))


def stateful(bound: dict[str, str], cell: GatedCell) -> bool:
    return any(w == "state" or w in cell.states for w in bound.values())


def run(
    thing: Thing,
    call: Call,
    bound: dict[str, str],
    cell: GatedCell,
    held: Arrays,
    x: Any,
    state: Arrays,
    width: int,
) -> Made:
    """Output and last states. x (T, B, I), states (B, H), in the thing's library. Raises NotSo where shapes
    are others.
    """
    if call.axes == "vectors":
        each = [
            _one(thing, call, bound, cell, held, x[:, b], {k: v[b] for k, v in state.items()}, width)
            for b in range(x.shape[1])
        ]
        return Made(
            stack([m.output for m in each], 1),
            {k: stack([m.state[k] for m in each], 0) for k in each[0].state},
        )
    return _one(thing, call, bound, cell, held, x, state, width)


def _one(thing, call, bound, cell, held, x, state, width) -> Made:
    flip = call.axes == "columns"
    if call.sequence:
        seen = x.swapaxes(0, 1) if call.axes == "batch_first" else x
        made = _called(thing, call, bound, cell, held, seen, state)
        return of_sequence(
            made, cell, x.shape[:-1], state, width, call.state == "swapped", call.axes == "batch_first"
        )
    if flip:
        state = {k: v.swapaxes(0, 1) for k, v in state.items()}
    outputs, internal = [], not stateful(bound, cell)
    for now in x:
        result = _called(thing, call, bound, cell, held, now.swapaxes(0, 1) if flip else now, state)
        lead = tuple(now.shape[:-1])
        wide = (width, *lead) if flip else (*lead, width)
        output, new = of_step(result, cell, state, wide, call.state == "swapped", internal)
        outputs.append(output.swapaxes(0, 1) if flip else output)
        state = state if internal else new
    if internal:
        return Made(stack(outputs, 0), {})
    return Made(stack(outputs, 0), {k: v.swapaxes(0, 1) for k, v in state.items()} if flip else state)


def _called(thing, call, bound, cell, held, x, state) -> Any:
    given = []
    for name, what in bound.items():
        if what == "x":
            given.append((name, x))
        elif what in cell.states and what in state:
            given.append((name, state[what][None] if call.state == "layered" else state[what]))
        elif what == "state":
            given.append((name, _joint(call, cell, state)))
        elif what == "params":
            given.append((name, tuple(held.values()) if call.bag == "tuple" else bag(held, thing.missed)))
        elif what == "array":
            given.append((name, held[name]))
        else:
            given.append((name, x.shape[-1] if what == "input" else next(iter(state.values())).shape[-1]))
    if list(bound) == [""]:
        return thing.function(x, _joint(call, cell, state))
    parameters = inspect.signature(thing.function).parameters
    if any(parameters[name].kind == inspect.Parameter.POSITIONAL_ONLY for name, _ in given):
        return thing.function(*(value for _, value in given))
    return thing.function(**dict(given))


def _joint(call: Call, cell: GatedCell, state: Arrays) -> Any:
    values = [v[None] if call.state == "layered" else v for v in state.values()]
    if call.state == "dict":
        return bag(zip(state, values, strict=True), [])
    if call.state == "swapped":
        return tuple(values[::-1])
    return values[0] if len(values) == 1 and call.state != "tuple" else tuple(values)


def other_calls(
    thing: Thing, call: Call, cell: GatedCell, bound: dict[str, str]
) -> Iterator[tuple[str, Call]]:
    """What the thing may have meant otherwise, though it could be called: (words, call)."""
    if "state" in bound.values() and len(cell.states) == 2 and call.state in ("plain", "tuple"):
        yield f"the state taken as ({', '.join(cell.states[::-1])})", replace(call, state="swapped")
    if not stateful(bound, cell):
        yield from ((f"called as {other}", other) for other in calls(thing, cell, False) if other != call)
    elif call.sequence and call.axes in ("rows", "batch_first"):
        other = "batch_first" if call.axes == "rows" else "rows"
        yield f"x read as {'(B, T, I)' if other == 'batch_first' else '(T, B, I)'}", replace(call, axes=other)


def attempt(*arguments: Any) -> Made | str:
    """What `run` makes, or in a line why it is not called so."""
    try:
        with np.errstate(all="ignore"):
            return run(*arguments)
    except Exception as error:  # it is somebody's code: whatever it raises says that this was not the way
        return str(error) if isinstance(error, NotSo) else said(error)
