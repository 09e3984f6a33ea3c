"""Fits a thing to a cell: its arrays are mapped to the cell's, and a way to call it is found."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from itertools import product

import numpy as np

from ..cell import GatedCell
from ..find import nearest
from .calls import binding, calls, stateful
from .layouts import Layout
from .mapping import describe, invent, likely_sizes, solve
from .names import readings
from .ports import Arrays, Port, Problem
from .returned import Made
from .source import array_arguments, text
from .things import Thing


def ported(
    thing: Thing,
    cell: GatedCell,
    sizes: tuple[int, int],
    draw: Callable[[GatedCell, bool], Problem],
    weights: Arrays | None,
    seed: int,
) -> Port:
    """The thing with its arrays mapped and a way to call it. draw(cell, zero) is the problem.

    Raises ValueError: arrays that are not the cell's, or a thing that cannot be called, with what was tried
    and what is needed.
    """
    names: list[str] = list(thing.names)
    if not thing.arrays and not names:
        names, thing.keys = array_arguments(thing.function, cell)
    two = any("kernel" in name for name in names) or bool(
        re.search(r"\bb(ias)?[\"']?\]?\[0\]", text(thing.function))
    )
    while True:
        bound = binding(thing, cell, names)
        options = (
            [_own(thing, cell, sizes, weights, seed)]
            if thing.arrays
            else _invented(names, cell, sizes, weights, seed, two=two)
        )
        partial = [*_invented(names, cell, sizes, None, seed, True, two), ({}, [])] if thing.keys else []
        given = draw(cell, not stateful(bound, cell))
        problems = []
        for call in calls(thing, cell, stateful(bound, cell)):
            for arrays, layouts in options or partial:
                port = Port(thing, cell, call, bound, arrays, layouts, given, cell.output_size(*sizes))
                made = port.tried()
                if isinstance(made, Made) and options:
                    return port
                problems.append(f"as {call}: {made}")
        missed = [name for name in dict.fromkeys(thing.missed) if name not in names]
        if not missed:
            break
        names, thing.missed = [*names, missed[0]], []  # a key that only shows when it runs
    raise ValueError(_uncalled(thing, problems) if options else _unread(thing, cell, sizes, names))


def _unread(thing: Thing, cell: GatedCell, sizes: tuple[int, int], names: list[str]) -> str:
    return (
        f"{thing.label} takes {', '.join(names) or 'no arrays'}, which are not read as the arrays of cell"
        f" {cell.name!r}"
        f" ({describe(cell.init(*sizes))}){nearest(names[0] if names else '', cell.parameter_shapes(*sizes))}"
        f" name them so, or W_GATE, U_GATE, b_GATE for its gates {', '.join(cell.gates)}"
    )


def _uncalled(thing: Thing, problems: list[str]) -> str:
    return (
        f"{thing.label} cannot be called; tried {'; '.join(_first(problems))}. "
        "Needed: (x (B, I), state) -> h or (output, state), or (x (T, B, I)) -> outputs"
    )


def _first(problems: list[str]) -> list[str]:
    """One problem of a kind, three at most."""
    kinds: dict[str, str] = {}
    for problem in problems:
        kinds.setdefault(problem.partition(":")[0], problem)
    return [t[:240] for t in list(kinds.values())[:3]]


def _own(
    thing: Thing, cell: GatedCell, sizes: tuple[int, int], weights: Arrays | None, seed: int
) -> tuple[Arrays, list[Layout]]:
    """The thing's own arrays and how they are the cell's; drawn anew where the thing was made here."""
    shapes = {k: v.shape for k, v in thing.arrays.items()}
    layouts = solve(shapes, cell, sizes)
    order = _translated(thing.order, cell)
    if order and order != cell.gates:
        layouts = [
            replace(layout.permuted(order), words=(f"gates in the order {', '.join(thing.order)}",))
            for layout in layouts
        ]
    if not layouts:
        if weights is None:
            raise ValueError(
                f"the arrays of {thing.label} ({describe(thing.arrays)}) are not read as those of cell"
                f" {cell.name!r} with input_size {sizes[0]} and hidden_size {sizes[1]}"
                f" ({describe(cell.init(*sizes))}); give an object, and weights={{name: array}} as the cell"
                " has them"
            )
        return thing.arrays, []
    if not thing.made:
        return thing.arrays, layouts
    written = layouts[0].write(_drawn(layouts[0], weights, seed), shapes)
    for name in layouts[0].ignored:
        written[name] = thing.arrays[name]
    return written, layouts


def _translated(gates: tuple[str, ...], cell: GatedCell) -> tuple[str, ...]:
    """A user's names of gates in the cell's words, in their order; () where they are others."""
    if set(gates) == set(cell.gates):
        return gates
    said = [{g for r in readings(f"{name}_ih", cell) for g in r.gates} or {name} for name in gates]
    found = next((order for order in product(*said) if set(order) == set(cell.gates)), ())
    return found if len(found) == len(cell.gates) else ()


def _drawn(layout: Layout, weights: Arrays | None, seed: int) -> Arrays:
    """The cell's arrays that the thing is given: the weights, zero where they have none, or arrays that
    float32 holds exactly.
    """
    if weights is None:
        drawn = layout.cell.init(*layout.sizes, seed=seed)
        return {k: v.astype(np.float32).astype(np.float64) for k, v in drawn.items()}
    if lost := [name for name in weights if name not in layout.covered()]:
        raise ValueError(
            f"weights hold {', '.join(lost)}, for which it has no array; leave them out, or give weights of"
            " biases=1"
        )
    return {
        k: weights.get(k, np.zeros(shape)) for k, shape in layout.cell.parameter_shapes(*layout.sizes).items()
    }


def _invented(
    names: list[str],
    cell: GatedCell,
    sizes: tuple[int, int],
    weights: Arrays | None,
    seed: int,
    partly: bool = False,
    two: bool = False,
) -> list[tuple[Arrays, list[Layout]]]:
    return [
        (layouts[0].write(_drawn(layouts[0], weights, seed), shapes), layouts)
        for shapes, layouts in invent(names, cell, sizes, partly, two)
        if layouts
    ]


def sizes_of(thing_arrays: Arrays, cell: GatedCell) -> tuple[int, int] | None:
    """The sizes of a thing that holds its arrays."""
    return likely_sizes({k: v.shape for k, v in thing_arrays.items()}, cell)
