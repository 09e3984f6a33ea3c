"""Reads arrays as a cell's by their names and shapes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import combinations

import numpy as np

from ..cell import GatedCell
from ..exchange.layouts import KERAS
from . import assign, stacks
from .cover import covers, every, stem
from .layout import BIASES, TARGETS, Array, CellArrays, Layout, Piece, Shapes, in_one
from .words import Reading, readings, role

# one orientation for all arrays first: mixed ones fit too much
ORIENTATIONS = ("rows", "columns", "mixed")


def solve(
    shapes: Shapes, cell_arrays: CellArrays, kinds: Mapping[str, str] | None = None, most: int = 1
) -> list[Layout]:
    """Layouts of arrays with these names and shapes, likeliest first; [] where they are not the cell's.

    most: how many ways to share out gates are given where names do not say them.
    """
    if cell_arrays.cell.stacked:
        return stacks.layouts(shapes, cell_arrays, kinds or {}, solve)
    exact = _by_name(shapes, cell_arrays)
    if exact is not None:
        return [exact]
    if not cell_arrays.plain:
        return assign.layouts(shapes, cell_arrays, kinds or {})
    for orientation in ORIENTATIONS:
        options = {
            n: list(_readings(Array(n, shape, cell_arrays, orientation))) for n, shape in shapes.items()
        }
        chosen = covers(options, cell_arrays.cell, most)
        layouts = [layout_of(choice, shapes, cell_arrays, orientation) for choice in chosen]
        if layouts:
            return [layout for found in layouts for layout in found.orders(shapes)]
    return in_one(*next(iter(shapes.items())), cell_arrays) if len(shapes) == 1 else []


def _by_name(shapes: Shapes, cell_arrays: CellArrays) -> Layout | None:
    """The layout of arrays that have the cell's own names and shapes, or None."""
    tails = {name.rpartition(".")[2].removesuffix("_l0"): name for name in shapes}
    for biases in dict.fromkeys((cell_arrays.cell.biases, 2, 1, 0)):
        same = with_biases(cell_arrays, biases)
        more_biases = any("bias" in name for name in set(tails) - set(same.shapes))
        if more_biases or not set(same.shapes) <= set(tails):
            continue
        if all(shapes[tails[name]] == shape for name, shape in same.shapes.items()):
            return _exact(same, {name: tails[name] for name in same.shapes}, shapes)
    return None


def with_biases(cell_arrays: CellArrays, biases: int) -> CellArrays:
    return CellArrays(replace(cell_arrays.cell, biases=biases), cell_arrays.sizes)


def _reshaped(form: tuple[int, ...], array: np.ndarray) -> np.ndarray:
    return np.reshape(array, form)  # by place: NumPy 2.0 has no keyword `shape`


def _exact(cell_arrays: CellArrays, pairs: dict[str, str], shapes: Shapes) -> Layout:
    """The layout of arrays that are the cell's, as row blocks where they are such."""
    pieces = []
    for target, array in pairs.items():
        if cell_arrays.blocked and target in TARGETS.values():
            gates = cell_arrays.gates[target]
            form = (len(gates), cell_arrays.sizes[1], *shapes[array][1:])
            pieces.append(Piece(array, target, gates, partial(_reshaped, form), True))
        else:
            pieces.append(Piece(array, target, (), lambda a: a))
    ignored = tuple(name for name in shapes if name not in pairs.values())
    return Layout(cell_arrays, tuple(pieces), (), ignored)


def _readings(array: Array) -> Iterator[Reading]:
    """The readings of an array's name that its shape allows, likeliest first, with all gates named."""
    cell, tail = array.cell_arrays.cell, array.name.rpartition(".")[2]
    if tail in cell.vectors and array.shape == (array.cell_arrays.sizes[1],):
        yield Reading(tail, ())
        return
    if role(array.name, cell) in (*cell.states, "state"):
        return  # a state that an object keeps
    for reading in dict.fromkeys(_possible(array)):
        named, count = every(reading.side, cell), array.count(reading.side)
        if count is None or not set(reading.gates) <= set(named):
            continue
        if reading.gates and count == len(reading.gates):
            yield reading
        elif count == len(named):
            order = KERAS[cell.name].order if _of_keras(array.name, cell) else named
            yield replace(reading, gates=order if set(order) == set(named) else named)
        elif not reading.gates and count < len(named):
            yield from (replace(reading, gates=some) for some in combinations(named, count))


def _possible(array: Array) -> Iterator[Reading]:
    """What a name says, then what it does not say: every side, with the gates that the name has."""
    for bias in _kinds(array):
        said = readings(stem(array.name), array.cell_arrays.cell, bias)
        yield from said
        for side in BIASES if bias else ("x", "h", "xh"):
            for gates in ((), *dict.fromkeys(r.gates for r in said if r.gates)):
                yield Reading(side, gates, False)


def _kinds(array: Array) -> list[bool]:
    """[True] for a bias, [False] for a matrix; both, likelier first, where it can be either."""
    if array.name.endswith((".weight", ".bias")):
        return [array.name.endswith(".bias")]
    name, shape = array.name.lower(), array.shape
    named = name.rpartition(".")[2].startswith("b") or "bias" in name
    flat = len([n for n in shape if n > 1]) <= 1
    two = len(shape) == 2 and shape[-1] % array.cell_arrays.sizes[1] == 0 and named
    kinds = [True] * (flat or two) + [False] * (len(shape) > 1)
    return sorted(kinds, reverse=named)


def _of_keras(name: str, cell: GatedCell) -> bool:
    """Whether an array with this name is one of a Keras layer that computes the cell."""
    return "kernel" in name and cell.name in KERAS


def layout_of(
    chosen: dict[str, Reading], shapes: Shapes, cell_arrays: CellArrays, orientation: str
) -> Layout:
    """The layout of arrays whose readings were chosen."""
    keras = any("kernel" in name for name in chosen)
    order = (
        KERAS[cell_arrays.cell.name].order
        if any(_of_keras(name, cell_arrays.cell) for name in chosen)
        else ()
    )
    pieces: list[Piece] = []
    for name, reading in chosen.items():
        gates = order if order and set(order) == set(reading.gates) else reading.gates
        pieces += Array(name, shapes[name], cell_arrays, orientation).pieces(reading.side, gates)
    targets = {piece.target for piece in pieces}
    biases = 2 if "bias_hh" in targets else 1 if "bias_ih" in targets else 0
    words = [f"Keras arrays, gate order {', '.join(order)}"] if order else []
    words += ["matrices (K, G * H)"] if orientation == "columns" and not keras else []
    ignored = tuple(name for name in shapes if name not in chosen)
    return Layout(with_biases(cell_arrays, biases), tuple(pieces), tuple(words), ignored)
