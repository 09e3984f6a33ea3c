"""Shapes for arrays of which a function tells the names alone, and the layouts that they then have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from ..cell import GatedCell
from .cover import cover, every, stem
from .layout import BIASES, CellArrays, Layout, Shapes, in_one
from .solving import layout_of, solve, with_biases
from .words import Reading, of_read_out, readings


def invent(
    names: Sequence[str], cell_arrays: CellArrays, partly: bool = False, two: bool = False
) -> Iterator[tuple[Shapes, list[Layout]]]:
    """For arrays of which only the names are known: shapes that fit, and their layouts, likeliest first.

    partly: the names need not be all of the cell's arrays. two: one array of both biases is likelier than one
    bias, as it is in Keras. Names of a read-out, such as Why, get arrays that change nothing.
    """
    exact = {name for name in names if name in cell_arrays.shapes}
    if exact == set(names):
        shapes = {name: s for name, s in with_biases(cell_arrays, 2).shapes.items() if name in exact}
        yield shapes, solve(shapes, cell_arrays)
    if not cell_arrays.blocked:
        return
    kernels = any("kernel" in name for name in names)
    answers = [name for name in names if of_read_out(name, cell_arrays.cell)]
    options = {n: _unshaped(n, cell_arrays.cell) for n in names if n not in answers}
    if partly:
        said = [found for found in options.values() if found]
        # W_f may take x alone, or x and h side by side
        for k in range(max(map(len, said), default=1)):
            some = {n: found[min(k, len(found) - 1)] for n, found in options.items() if found}
            if some or answers:
                yield from _invented(some, answers, cell_arrays, two or kernels, kernels)
    elif every_one := cover(options, cell_arrays.cell):
        chosen = {name: every_one[name] for name in options if name in every_one}
        yield from _invented(chosen, answers, cell_arrays, two or kernels, kernels)
    elif list(options.values()) == [[]]:
        wide, rows = sum(cell_arrays.sizes) + 1, len(cell_arrays.cell.gates) * cell_arrays.sizes[1]
        for shape in ((wide, rows), (rows, wide)):
            yield {names[0]: shape}, in_one(names[0], shape, cell_arrays)


def _invented(
    chosen: dict[str, Reading], answers: Sequence[str], cell_arrays: CellArrays, two: bool, kernels: bool
) -> Iterator[tuple[Shapes, list[Layout]]]:
    """Shapes of arrays whose readings were chosen, and of a read-out's, with their layouts."""
    for orientation in ("columns", "rows") if kernels else ("rows", "columns"):
        for bias in _bias_forms(chosen, two):
            shapes = {
                name: _shape(reading, cell_arrays, orientation, bias) for name, reading in chosen.items()
            }
            layout = layout_of(chosen, shapes, cell_arrays, orientation)
            for answer in _read_outs(answers, cell_arrays, orientation, bias):
                yield shapes, replace(layout, readout=answer).orders(shapes)


def _read_outs(
    names: Sequence[str], cell_arrays: CellArrays, orientation: str, bias: str
) -> Iterator[dict[str, np.ndarray]]:
    """Arrays of a read-out that hands the state on: wider than the state, so that nobody takes its answers
    for one, and as wide, for outputs that are answers.
    """
    units = cell_arrays.sizes[1]
    for width in (units + 4, units) if names else (units,):
        matrix = np.eye(width, units)
        weight = matrix if orientation == "rows" else matrix.T
        shift = np.zeros((width, 1) if bias == "column" else width)
        yield {name: shift if name.lower().startswith("b") else weight for name in names}


def _unshaped(name: str, cell: GatedCell) -> list[Reading]:
    """The readings of a name alone, with all gates where none is named; [] where it says nothing."""
    if name in cell.vectors:
        return [Reading(name, ())]
    said = readings(stem(name), cell)
    if not any(reading.certain or reading.gates for reading in said):
        return []
    return [r if r.gates else replace(r, gates=every(r.side, cell)) for r in said]


def _bias_forms(chosen: dict[str, Reading], two: bool) -> list[str]:
    """Forms of bias to try: flat (G * H,), column (G * H, 1), two (2, G * H) for both in one array."""
    biases = [reading for reading in chosen.values() if reading.side in BIASES]
    forms = ["two", "flat", "column"] if two else ["flat", "column", "two"]
    return [f for f in forms if f == "flat" or (len(biases) == 1 if f == "two" else biases)]


def _shape(reading: Reading, cell_arrays: CellArrays, orientation: str, bias: str) -> tuple[int, ...]:
    """The shape of an array that is what the reading says."""
    units = cell_arrays.sizes[1]
    length = len(reading.gates) * units
    if reading.side in cell_arrays.cell.vectors:
        return (units,)
    if reading.side in BIASES:
        return {"flat": (length,), "column": (length, 1), "two": (2, length)}[bias]
    width = cell_arrays.widths[reading.side]
    return (width, length) if orientation == "columns" else (length, width)
