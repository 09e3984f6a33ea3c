"""Ways in which an implementation is commonly another cell than it was meant to be, each as a change to the
float64 reference.

A change is made where the cell's equations call a function (sigmoid, tanh ...), whichever cell it is; to its
arrays; to the order of its gates; or it is another cell of the same gates and states.
"""

from __future__ import annotations

import linecache
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import permutations
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from ..cell import GatedCell
from ..contract import State
from ..exchange.layouts import KERAS, ONNX
from .layouts import Layout, blocked

Arrays = dict[str, Any]
NAMES = {
    torch.sigmoid: "sigmoid",
    torch.tanh: "tanh",
    torch.relu: "relu",
    torch.exp: "exp",
    torch.nn.functional.logsigmoid: "logsigmoid",
}
CHANGES: dict[str, dict[str, Callable]] = {
    "sigmoid": {
        "{0} and 1 - {0} exchanged": lambda a: 1 - torch.special.expit(a),
        "1 added inside the sigmoid of {0} (a forget bias of 1)": lambda a: torch.special.expit(a + 1),
        "tanh where {0} has sigmoid": lambda a: a.tanh(),
        "hard sigmoid (0.2 a + 0.5) where {0} has sigmoid": lambda a: (0.2 * a + 0.5).clamp(0, 1),
        "hard sigmoid (a / 6 + 0.5) where {0} has sigmoid": lambda a: (a / 6 + 0.5).clamp(0, 1),
        "the sigmoid of {0} left out": lambda a: a,
    },
    "tanh": {
        "the tanh of {0} left out": lambda a: a,
        "sigmoid where {0} has tanh": lambda a: torch.special.expit(a),
        "relu where {0} has tanh": lambda a: a.clamp(min=0),
    },
    "relu": {"the relu of {0} left out": lambda a: a, "tanh where {0} has relu": lambda a: a.tanh()},
    "exp": {"the exp of {0} left out": lambda a: a},
    "logsigmoid": {"the logsigmoid of {0} left out": lambda a: a},
}


class Altered(TorchFunctionMode):
    """Counts a step's calls of functions, and computes those numbered in `sites` by `change` instead."""

    def __init__(
        self, sites: frozenset[int] = frozenset(), change: Callable | None = None, lines: list | None = None
    ) -> None:
        super().__init__()
        self.sites, self.change, self.lines, self.count = sites, change, lines, 0

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if func in NAMES:
            site, self.count = self.count, self.count + 1
            if self.lines is not None:
                self.lines.append((NAMES[func], _line()))
            if site in self.sites and self.change is not None:
                return self.change(*args)
        return func(*args, **(kwargs or {}))


def _line() -> str:
    """The line of the cell's file that called a function of the vocabulary."""
    frame: Any = sys._getframe(2)
    while frame is not None and (
        frame.f_globals.get("__name__", "").startswith("torch")
        or frame.f_code.co_filename.endswith("primitives.py")
    ):
        frame = frame.f_back
    return linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip() if frame else ""


@dataclass(frozen=True)
class Variant:
    """A cell, the order in which its gates are held, and changes to its functions and arrays; words say what
    differs.
    """

    cell: GatedCell
    words: tuple[str, ...] = ()
    order: tuple[str, ...] | None = None
    sites: frozenset[int] = frozenset()
    change: Callable | None = None
    arrays: Callable[[Arrays, GatedCell], Arrays] | None = None
    zero: bool = False

    def unroll(self, params: Arrays, x: Any, state: Arrays) -> tuple[Any, Arrays]:
        """Output (T, B, O) and last states on torch tensors, with the changes made."""
        params = self.arrays(params, self.cell) if self.arrays else params
        if self.zero:
            state = {k: v * 0 for k, v in state.items()}
        used, now, outputs = self.cell.effective(params), State(**state), []
        with Altered(self.sites, self.change) as mode:
            for x_t in x:
                mode.count = 0
                y, now = self.cell.step(used, x_t, now)
                outputs.append(y @ params["weight_out"].T + params["bias_out"] if self.cell.readout else y)
        return torch.stack(outputs), {k: getattr(now, k) for k in self.cell.states}


@cache
def _sites(cell: GatedCell) -> list[tuple[str, str]]:
    """(function, line) of each call in a step."""
    sizes = next(((n, n) for n in range(2, 65) if cell.unfit(n, n) is None), (1, 1))
    params = {k: torch.as_tensor(v) for k, v in cell.init(*sizes).items()}
    state = State(
        **{k: torch.zeros(s, dtype=torch.float64) for k, s in cell.state_shapes(1, sizes[1]).items()}
    )
    lines: list[tuple[str, str]] = []
    used = cell.effective(params)
    with Altered(lines=lines):
        cell.step(used, torch.zeros((1, sizes[0]), dtype=torch.float64), state)
    return lines


def _subject(function: str, line: str) -> str:
    """What a line computes with the function: `z` of z = sigmoid(...), `tanh(c)`'s c, else the line."""
    assigned = re.match(rf"(\w+) = {function}\(.*\)$", line)
    if assigned:
        return assigned[1]
    inside = re.search(rf"\b{function}\(([\w. ]+)\)", line)
    return inside[1] if inside else f"`{line}`"


def changed_functions(cell: GatedCell) -> Iterator[Variant]:
    """One function of the equations, or every sigmoid, computed otherwise."""
    lines = _sites(cell)
    sigmoids = frozenset(k for k, (f, _) in enumerate(lines) if f == "sigmoid")
    for k, (function, line) in enumerate(lines):
        subject = _subject(function, line)
        for words, change in CHANGES[function].items():
            yield Variant(cell, (words.format(subject),), sites=frozenset({k}), change=change)
    for words in (w for w in CHANGES["sigmoid"] if w.startswith("hard")) if len(sigmoids) > 1 else ():
        yield Variant(cell, (words.format("every gate"),), sites=sigmoids, change=CHANGES["sigmoid"][words])


def changed_arrays(cell: GatedCell) -> Iterator[Variant]:
    """Biases that are left out or added elsewhere, recurrent matrices used transposed."""
    names = tuple(name for name in cell.shapes(6, 8) if name in ("bias_ih", "bias_hh"))

    def without(*out: str) -> Callable:
        return lambda p, c: {k: v * 0 if k in out else v for k, v in p.items()}

    for name in names:
        yield Variant(cell, (f"{name} left out",), arrays=without(name))
    if len(names) == 2 and cell.gates == cell.recurrent:
        yield Variant(cell, ("both biases left out",), arrays=without(*names))
        one = "both biases added on the input's side (one bias)"
        yield Variant(
            cell,
            (one,),
            arrays=lambda p, c: p | {"bias_ih": p["bias_ih"] + p["bias_hh"], "bias_hh": p["bias_hh"] * 0},
        )
        other = "both biases added to the recurrent product"
        yield Variant(
            cell,
            (other,),
            arrays=lambda p, c: p | {"bias_hh": p["bias_ih"] + p["bias_hh"], "bias_ih": p["bias_ih"] * 0},
        )
    if len(names) == 1 and cell.gates == cell.recurrent:
        double = replace(cell, biases=2)
        yield Variant(
            double,
            ("the one bias added to the recurrent product (as bias_hh)",),
            arrays=lambda p, c: p | {"bias_hh": p["bias_ih"], "bias_ih": p["bias_ih"] * 0},
        )
    if blocked(cell, (5, 7)):
        yield Variant(
            cell,
            ("weight_hh used transposed",),
            arrays=lambda p, c: p | {"weight_hh": _transposed(p["weight_hh"], c)},
        )
    yield Variant(cell, ("the initial state not used (it starts from zero)",), zero=True)


def _transposed(weight: Any, cell: GatedCell) -> Any:
    units = weight.shape[1]
    return weight.reshape(-1, units, units).swapaxes(1, 2).reshape(-1, units)


def interleaved(layout: Layout) -> Layout | None:
    """The layout where the rows of packed arrays go gate by gate within each unit, or None where nothing is
    packed.
    """
    pieces = []
    for piece in layout.pieces:
        if piece.packed and piece.gates:
            view = piece.view

            def mixed(a: np.ndarray, view: Callable = view) -> np.ndarray:
                part = view(a)
                units, gates = part.shape[1], part.shape[0]
                index = np.arange(gates * units).reshape(units, gates).T
                return part.reshape(gates * units, *part.shape[2:])[index]

            piece = replace(piece, view=mixed)
        pieces.append(piece)
    return replace(layout, pieces=tuple(pieces)) if any(p.packed for p in layout.pieces) else None


def siblings(cell: GatedCell) -> Iterator[Variant]:
    """Other cells of the zoo, and other options, with the same gates, states and arrays."""
    from ..catalogue import get, names

    shapes = cell.parameter_shapes(6, 8) if cell.unfit(6, 8) is None else None
    for name in names():
        try:
            other = get(name, biases=cell.biases)
        except ValueError:
            continue
        alike = (
            name != cell.name
            and other.gates == cell.gates
            and other.states == cell.states
            and other.unfit(6, 8) is None
        )
        if alike and other.parameter_shapes(6, 8) == shapes:
            yield Variant(other, (f"this is {name}: check it --against {name}",))
    activation = getattr(cell, "activation", None)
    for option in ("tanh", "relu", "identity") if cell.name == "elman" else ():
        if option != activation:
            spec = f"{cell.name}:activation={option}"
            yield Variant(replace(cell, activation=option), (f"this is {spec}: check it --against {spec}",))  # type: ignore[call-arg]


def orders(cell: GatedCell) -> Iterator[tuple[str, ...]]:
    """Other orders of up to four gates, those of other software first."""
    known = [table[cell.name].order for table in (KERAS, ONNX) if cell.name in table]
    others = permutations(cell.gates) if len(cell.gates) <= 4 else ()
    for order in dict.fromkeys((*known, *others)):
        if order != cell.gates and set(order) == set(cell.gates):
            yield order


def order_words(layout: Layout, order: tuple[str, ...]) -> str:
    """How the arrays hold the gates when what is read as the cell's k-th gate is order[k]'s."""
    gates = layout.cell.gates
    actual = dict(zip(gates, order, strict=True))
    packed = next((p.gates for p in layout.pieces if p.packed and len(p.gates) == len(gates)), None)
    if packed is None:
        return "gates exchanged: " + ", ".join(
            f"{g}'s arrays are used as {h}'s" for g, h in actual.items() if g != h
        )
    real = tuple(actual[g] for g in packed)
    tables = (("torch's", {layout.cell.name: gates}), ("Keras's", _known(KERAS)), ("ONNX's", _known(ONNX)))
    named = [where for where, table in tables if table.get(layout.cell.name) == real]
    return f"gate order {', '.join(real)}{_also(named)} where {layout.cell.name} has {', '.join(packed)}"


def _also(named: list[str]) -> str:
    return f" ({' and '.join(named)})" if named else ""


def _known(table: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    return {name: form.order for name, form in table.items()}


def variants(cell: GatedCell) -> Iterator[Variant]:
    """Everything that is tried, fewest differences first: one, then two, then three together."""
    alike = list(siblings(cell))
    functions, arrays = list(changed_functions(cell)), list(changed_arrays(cell))
    ordered = [replace(Variant(cell), order=o) for o in orders(cell)]
    yield from ordered
    yield from alike
    yield from functions
    yield from arrays
    deeper = [(s, v) for s in alike for v in (*changed_functions(s.cell), *changed_arrays(s.cell))]
    both = [replace(v, words=s.words + v.words) for s, v in deeper]
    yield from both
    for order in orders(cell):
        yield from (replace(v, order=order) for v in (*alike, *functions, *arrays))
    for f in functions:
        yield from (
            replace(f, words=f.words + a.words, arrays=a.arrays, zero=a.zero, cell=a.cell) for a in arrays
        )
    yield from _pairs(functions)
    if len(cell.gates) <= 3:
        for order in orders(cell):
            yield from (replace(v, order=order) for v in both)


def _pairs(functions: list[Variant]) -> Iterator[Variant]:
    """Two functions changed at once: the same change at two sites."""
    for k, first in enumerate(functions):
        for second in functions[k + 1 :]:
            if first.change is second.change and not first.sites & second.sites:
                yield replace(first, words=first.words + second.words, sites=first.sites | second.sites)
