"""Variants of the float64 reference: ways in which an implementation is commonly another cell than was meant.

A change is made where the cell's equations call a function (sigmoid, tanh ...), whichever cell it is; to its
arrays; to the order of its gates; or it is another cell of the same gates and states.
"""

from __future__ import annotations

import linecache
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from itertools import permutations
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from ..cell import GatedCell
from ..contract import State
from ..derived import layers
from ..exchange.layouts import KERAS, ONNX
from .forms import Form, Function
from .layout import Arrays, CellArrays

Change = Callable[[dict[str, Any]], dict[str, Any]]

NAMES = {
    torch.sigmoid: "sigmoid",
    torch.tanh: "tanh",
    torch.relu: "relu",
    torch.exp: "exp",
    torch.nn.functional.logsigmoid: "logsigmoid",
}


# what people do with the backward directions of a stack, and what undoes it
COURSES = {
    "give": ("the backward outputs not turned back in time", "turn the backward outputs back in time"),
    "read": (
        "the backward directions reading x forward in time",
        "let the backward directions read x from its end",
    ),
    "neither": (
        "the backward directions running forward in time",
        "let the backward directions run from the end",
    ),
    "swapped": ("the backward outputs in front of the forward ones", "put the forward outputs in front"),
}


class Altered(TorchFunctionMode):
    """Counts a step's calls of functions, and computes those in `changes`, by number, in another form.

    This changes any cell, for its equations cannot but call the functions of torch. lines gets the function
    and the line of each call.
    """

    def __init__(
        self, changes: Mapping[int, Function] | None = None, lines: list[tuple[str, str]] | None = None
    ) -> None:
        super().__init__()
        self.changes, self.lines, self.count = changes or {}, lines, 0

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in NAMES:
            site, self.count = self.count, self.count + 1
            if self.lines is not None:
                self.lines.append((NAMES[func], _line()))
            if site in self.changes:
                return self.changes[site](*args)
        return func(*args, **(kwargs or {}))


def _line() -> str:
    """The line of the cell's file that called a function of the vocabulary."""
    frame: Any = sys._getframe(2)  # torch's frames and those of the vocabulary lie between
    while frame is not None and (
        frame.f_globals.get("__name__", "").startswith("torch")
        or frame.f_code.co_filename.endswith("primitives.py")
    ):
        frame = frame.f_back
    return linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip() if frame else ""


@dataclass(frozen=True)
class Values:
    """Output, last states, gradients of the cell's arrays, and those of what goes in (x, state NAME)."""

    output: np.ndarray
    state: Arrays
    grads: Arrays
    ends: Arrays


@dataclass(frozen=True)
class Variant:
    """A cell with changes to its functions and arrays; words say what differs, mends what undoes it.

    order: the gates whose arrays are read as the cell's, one by one. functions: other forms of the functions
    that a step calls, by number. zero: the initial state is not used. each: the layers and directions of a
    stack, where these differ. course: what a stack does with its backward directions (COURSES), "" as torch.
    """

    cell: GatedCell
    words: tuple[str, ...] = ()
    mends: tuple[str, ...] = ()
    order: tuple[str, ...] | None = None
    functions: tuple[tuple[int, Form], ...] = ()
    arrays: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    zero: bool = False
    each: tuple[Variant, ...] = ()
    course: str = ""

    @property
    def changes(self) -> dict[int, Function]:
        """What is computed in place of the functions, by number."""
        return {site: form.compute for site, form in self.functions}

    def unroll(self, params: dict[str, Any], x: Any, state: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Output (T, B, O) and last states on torch tensors, with the changes made."""
        if self.cell.stacked:
            return self._stacked(params, x, state)
        params = self.arrays(params) if self.arrays else params
        if self.zero:
            state = {name: value * 0 for name, value in state.items()}
        used, current, outputs = self.cell.effective(params), State(**state), []
        with Altered(self.changes) as mode:
            for x_t in x:
                mode.count = 0
                y, current = self.cell.step(used, x_t, current)
                outputs.append(y @ params["weight_out"].T + params["bias_out"] if self.cell.readout else y)
        return torch.stack(outputs), {name: getattr(current, name) for name in self.cell.states}

    def _stacked(self, params: dict[str, Any], x: Any, state: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """The same layer by layer."""
        directions, ends, sides = self.cell.directions, list[dict[str, Any]](), list[Any]()
        single = layers.single(self.cell)
        alone = self.each or (replace(self, cell=single),) * (self.cell.layers * directions)
        hidden = x
        for k, (variant, layer) in enumerate(zip(alone, layers.of(self.cell, 1, 1), strict=True)):
            own = {n.removesuffix(layer.suffix): v for n, v in params.items() if n.endswith(layer.suffix)}
            read, give = (layer.reverse and self.course not in (way, "neither") for way in ("read", "give"))
            given = {name: value[k] for name, value in state.items()}
            output, last = variant.unroll(own, hidden.flip(0) if read else hidden, given)
            ends.append(last)
            sides.append(output.flip(0) if give else output)
            if len(sides) == directions:
                hidden, sides = torch.cat(sides[::-1] if self.course == "swapped" else sides, -1), []
        if self.cell.readout:
            hidden = hidden @ params["weight_out"].T + params["bias_out"]
        return hidden, {name: torch.stack([end[name] for end in ends]) for name in state}

    @property
    def is_the_cell(self) -> bool:
        """Whether nothing is changed but the order of gates."""
        return not (self.functions or self.arrays or self.zero or self.each or self.course)

    def computed(
        self, params: Arrays, x: np.ndarray, state: Arrays, d_output: np.ndarray, d_state: Arrays
    ) -> Values:
        """All values in float64: of an unchanged cell by the reference program, else by autograd."""
        if self.is_the_cell:
            return by_program(self.cell, params, x, state, d_output, d_state)
        leaves = {name: torch.tensor(value, requires_grad=True) for name, value in params.items()}
        given = {name: torch.tensor(value, requires_grad=True) for name, value in state.items()}
        x_leaf = torch.tensor(x, requires_grad=True)
        output, last = self.unroll(leaves, x_leaf, given)
        total = (output * torch.tensor(d_output)).sum()
        total = total + sum((last[name] * torch.tensor(d)).sum() for name, d in d_state.items())
        ends = {"x": x_leaf} | {f"state {name}": value for name, value in given.items()}
        inputs = {**leaves, **ends}
        grads = torch.autograd.grad(total, list(inputs.values()), allow_unused=True)
        # an array that a variant leaves out has no gradient
        arrays = {
            name: np.zeros(tuple(value.shape)) if grad is None else grad.numpy()
            for (name, value), grad in zip(inputs.items(), grads, strict=True)
        }
        return Values(
            output.detach().numpy(),
            {name: value.detach().numpy() for name, value in last.items()},
            {name: arrays[name] for name in leaves},
            {name: arrays[name] for name in ends},
        )


def by_program(
    cell: GatedCell,
    params: Arrays,
    x: np.ndarray,
    state: Arrays,
    d_output: np.ndarray,
    d_state: Arrays,
    dtype: str = "float64",
) -> Values:
    """All values by the reference program, whose arithmetic is the dtype's."""
    from ..catalogue import backend

    program = backend("numpy").prepare(
        cell, params, steps=x.shape[0], batch=x.shape[1], dtype=dtype, direction="backward"
    )
    output = program.forward(x, state)
    grads = program.backward(d_output, d_state)
    ends = {"x": grads.x} | {f"state {name}": value for name, value in grads.state.items()}
    return Values(output.output, dict(output.state), grads.params, ends)


def at_zero(cell: GatedCell) -> tuple[dict[str, Any], Any, State]:
    """What a step takes, all zero, at a small size: what it calls does not depend on the values."""
    sizes = next(((n, n) for n in range(2, 65) if cell.unfit(n, n) is None), (1, 1))

    def zeros(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
        return {name: torch.zeros(shape, dtype=torch.float64) for name, shape in shapes.items()}

    params, states = zeros(CellArrays(cell, sizes).shapes), zeros(cell.state_shapes(1, sizes[1]))
    return cell.effective(params), torch.zeros((1, sizes[0]), dtype=torch.float64), State(**states)


@cache
def _sites(cell: GatedCell) -> list[tuple[str, str]]:
    """(function, line) of each call in a step."""
    lines: list[tuple[str, str]] = []
    used, x, state = at_zero(cell)
    with Altered(lines=lines):
        cell.step(used, x, state)
    return lines


def _subject(function: str, line: str) -> str:
    """What a line computes with the function: z of z = sigmoid(...), tanh(c)'s c, a state, else the line."""
    assigned = re.match(rf"(\w+) = {function}\(.*\)$", line)
    if assigned:
        return assigned[1]
    inside = re.search(rf"\b{function}\(([\w. ]+)\)", line)
    if inside:
        return inside[1]
    state = re.match(r"return State\((\w+)=[^=]*$", line)  # of a single state, which the line makes
    return f"the new {state[1]}" if state else f"`{line}`"


def functions(cell: GatedCell) -> list[str]:
    """The function of each call in a step."""
    return [function for function, _ in _sites(cell)]


def with_forms(variant: Variant, chosen: Mapping[int, Form]) -> Variant:
    """The variant with functions in other forms, by the number of their call, in words."""
    changed = {site: form for site, form in chosen.items() if form.differences}
    lines = _sites(variant.cell)
    gates = [site for site, (function, _) in enumerate(lines) if function == "sigmoid"]
    # what all gates share is said once
    shared = {changed[site] for site in gates if site in changed}
    if len(gates) > 1 and len(shared) == 1 and set(gates) <= set(changed):
        subjects = {gates[0]: "every gate"} | {k: _subject(*lines[k]) for k in changed if k not in gates}
    else:
        subjects = {k: _subject(*lines[k]) for k in changed}
    words = [w.format(subject) for k, subject in subjects.items() for w in changed[k].differences]
    mends = [m.format(subject) for k, subject in subjects.items() for m in changed[k].mends]
    return replace(
        variant,
        words=(*variant.words, *words),
        mends=(*variant.mends, *mends),
        functions=tuple(changed.items()),
    )


def changed_arrays(cell: GatedCell) -> Iterator[Variant]:
    """Biases that are left out or added elsewhere, recurrent matrices used transposed, states not used."""
    yield from _changed_biases(cell)
    if CellArrays(cell, (5, 7)).blocked:
        yield Variant(
            cell,
            ("weight_hh used transposed",),
            ("transpose the recurrent matrices, gate by gate",),
            arrays=lambda p: p | {"weight_hh": _transposed(p["weight_hh"])},
        )
    words = "the initial state not used (it starts from zero)"
    yield Variant(cell, (words,), ("start from the state that is given",), zero=True)


def _changed_biases(cell: GatedCell) -> Iterator[Variant]:
    names = tuple(name for name in cell.shapes(6, 8) if name in ("bias_ih", "bias_hh"))

    def scaled(by: float, *out: str) -> Change:
        return lambda p: {name: value * by if name in out else value for name, value in p.items()}

    for name in names:
        yield Variant(cell, (f"{name} left out",), (f"add {name}",), arrays=scaled(0, name))
        yield Variant(cell, (f"{name} subtracted",), (f"add {name}",), arrays=scaled(-1, name))
    if len(names) == 2:
        yield Variant(cell, ("both biases left out",), ("add both",), arrays=scaled(0, *names))
    if cell.gates != cell.recurrent:
        return  # the two biases belong to different gates
    if len(names) == 2:
        yield Variant(
            cell,
            ("both biases added on the input's side (one bias)",),
            ("add bias_hh to the recurrent product",),
            arrays=lambda p: p | {"bias_ih": p["bias_ih"] + p["bias_hh"], "bias_hh": p["bias_hh"] * 0},
        )
        yield Variant(
            cell,
            ("both biases added to the recurrent product",),
            ("add bias_ih to the input's product",),
            arrays=lambda p: p | {"bias_hh": p["bias_ih"] + p["bias_hh"], "bias_ih": p["bias_ih"] * 0},
        )
    if len(names) == 1:
        yield Variant(
            replace(cell, biases=2),
            ("the one bias added to the recurrent product (as bias_hh)",),
            ("add it to the input's product",),
            arrays=lambda p: p | {"bias_hh": p["bias_ih"], "bias_ih": p["bias_ih"] * 0},
        )


def _transposed(weight: Any) -> Any:
    units = weight.shape[1]
    return weight.reshape(-1, units, units).swapaxes(1, 2).reshape(-1, units)


def siblings(cell: GatedCell) -> Iterator[Variant]:
    """Other cells of the zoo, and other options, with the same gates, states and arrays."""
    sizes = (6, 8)
    shapes = CellArrays(cell, sizes).shapes if cell.unfit(*sizes) is None else None
    for name, other in _zoo().items():
        if name == cell.name or other.gates != cell.gates or other.states != cell.states:
            continue
        with suppress(ValueError):  # a cell may refuse so many biases
            other = replace(other, biases=cell.biases)
        if other.unfit(*sizes) is None and CellArrays(other, sizes).shapes == shapes:
            yield Variant(
                other, (f"this is {name}: check it --against {name}",), (f"compare it with {name}",)
            )
    activation = getattr(cell, "activation", None)
    for option in ("tanh", "relu", "identity") if cell.name == "elman" else ():
        if option != activation:
            spec = f"{cell.name}:activation={option}"
            changed: dict[str, Any] = {"activation": option}
            words = f"this is {spec}: check it --against {spec}"
            yield Variant(replace(cell, **changed), (words,), (f"compare it with {spec}",))


@cache  # each cell is verified as it is got, which takes longer than all that is compared here
def _zoo() -> dict[str, GatedCell]:
    """Every cell by name."""
    from ..catalogue import get, names

    cells = {}
    for name in names():
        with suppress(ValueError):  # a plug-in's cell may be no cell
            cells[name] = get(name)
    return cells


def orders(cell: GatedCell) -> Iterator[tuple[str, ...]]:
    """Other orders of up to four gates, those of other software first."""
    known = [table[cell.name].order for table in (KERAS, ONNX) if cell.name in table]
    others = permutations(cell.gates) if len(cell.gates) <= 4 else ()
    for order in dict.fromkeys((*known, *others)):
        if order != cell.gates and set(order) == set(cell.gates):
            yield order
