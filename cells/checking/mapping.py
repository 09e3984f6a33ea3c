"""Maps an implementation's arrays to the cell's, from their names and shapes, or from names alone.

A name has several readings. Those that its shape excludes are dropped; of the others one is chosen for each
name, so that together they are all of the cell's arrays (`cover`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from ..cell import GatedCell
from .implementation import Implementation
from .inventing import invent
from .layout import CellArrays, Layout, Shapes
from .solving import solve
from .words import readings

WEIGHTS = "give an object, and weights={name: array} as the cell has them"
SHARED_OUT = 4  # ways to share out gates that are tried where names do not say them


@dataclass(frozen=True)
class Mapped:
    """Shapes of an implementation's arrays, and how they are the cell's, likeliest first."""

    cell_arrays: CellArrays
    shapes: Shapes
    layouts: list[Layout]


def mapped(
    implementation: Implementation, names: list[str], cell_arrays: CellArrays, weighed: bool
) -> tuple[list[Mapped], list[Mapped]]:
    """Each way to map the implementation's arrays, or those named that are its arguments, likeliest first.

    The second list has those that are not all of the cell's arrays. weighed: the weights were given.
    """
    if implementation.arrays:
        return [_own(implementation, cell_arrays, weighed)], []
    options = []
    for partly in (False, True):
        invented = invent(names, cell_arrays, partly, implementation.indexes_bias)
        options.append([Mapped(cell_arrays, shapes, layouts) for shapes, layouts in invented if layouts])
    complete, partial = options
    return complete, [*partial, Mapped(cell_arrays, {}, [])] if implementation.keys else []


def described(shapes: Shapes) -> str:
    """Names and shapes in a line."""
    return ", ".join(f"{name} {tuple(shape)}" for name, shape in shapes.items()) or "none"


def _own(implementation: Implementation, cell_arrays: CellArrays, weighed: bool) -> Mapped:
    """The implementation's own arrays."""
    shapes, cell = implementation.shapes, cell_arrays.cell
    layouts = solve(shapes, cell_arrays, implementation.kinds, SHARED_OUT)
    order = _translated(implementation.order, cell)
    if order and order != cell.gates:
        words = (f"gates in the order {', '.join(implementation.order)}",)
        layouts = [replace(layout.permuted(order), words=words) for layout in layouts]
    if not layouts and implementation.holds:
        held = implementation.holds
        raise ValueError(
            f"{implementation.label} holds a {held}, not {cell.name!r}; check it --against {held}"
        )
    if not layouts and not weighed:
        raise ValueError(
            f"the arrays of {implementation.label} ({described(shapes)}) are not read as those of cell"
            f" {cell.name!r} with input_size {cell_arrays.sizes[0]} and hidden_size {cell_arrays.sizes[1]}"
            f" ({described(cell_arrays.shapes)}); {stack_hint(shapes, cell) or WEIGHTS}"
        )
    # weights say what the arrays hold, so that they need not be read
    return Mapped(cell_arrays, shapes, layouts or [Layout(cell_arrays, ())])


def stack_hint(shapes: Shapes, cell: GatedCell) -> str:
    """The stack or the cell of torch whose arrays these are, in words; "" where it is not known."""
    stacked = [(n, both) for n in (1, 2, 3, 4) for both in (False, True) if (n, both) != (1, False)]
    others = [replace(cell, layers=n, bidirectional=both) for n, both in stacked]
    others += [replace(cell, layers=1, bidirectional=False)] if cell.stacked else []
    read = ((other, likely_sizes(shapes, other, {})) for other in others)
    layouts = [solve(shapes, CellArrays(other, sizes))[0] for other, sizes in read if sizes is not None]
    if not layouts:
        return ""
    likeliest = min(layouts, key=lambda layout: len(layout.ignored)).cell
    if (likeliest.layers, likeliest.bidirectional) == (cell.layers, cell.bidirectional):
        return ""
    spec = ":".join(filter(None, (likeliest.name, likeliest.options))).replace("True", "true")
    return f"it has the arrays of another number of layers or directions: check it --against {spec}"


def _translated(gates: tuple[str, ...], cell: GatedCell) -> tuple[str, ...]:
    """A user's names of gates in the cell's words, in their order; () where they are others."""
    if set(gates) == set(cell.gates):
        return gates
    meanings = [{g for r in readings(f"{name}_ih", cell) for g in r.gates} or {name} for name in gates]
    order = next((order for order in product(*meanings) if set(order) == set(cell.gates)), ())
    return order if len(order) == len(cell.gates) else ()


def readable(
    implementation: Implementation, cell: GatedCell, sizes: tuple[int, int]
) -> tuple[int, int] | None:
    """The sizes at which its arrays are the cell's: those, or hidden_size for both; None where at neither."""
    for pair in dict.fromkeys((sizes, (sizes[1], sizes[1]))):
        fits = cell.unfit(*pair) is None and implementation.arrays
        if fits and solve(implementation.shapes, CellArrays(cell, pair), implementation.kinds):
            return pair
    return None


def at_sizes(
    implementation: Implementation, cell: GatedCell, sizes: tuple[int, int], fixed: bool
) -> CellArrays:
    """The cell at the sizes of the implementation's own arrays, or at `sizes` where these do not show.

    Raises ValueError where others were asked for.
    """
    likely = implementation.sizes
    if not implementation.made:
        likely = likely_sizes(implementation.shapes, cell, implementation.kinds)
    if likely and fixed and likely != sizes and implementation.made:
        raise ValueError(
            f"{implementation.label} takes inputs as wide as it has units; give input_size={sizes[1]}"
        )
    if likely and fixed and likely != sizes:
        raise ValueError(
            f"{implementation.label} has arrays of input_size and hidden_size {likely}, asked for are"
            f" {sizes}; leave the sizes out"
        )
    return CellArrays(cell, likely or sizes)


def likely_sizes(shapes: Shapes, cell: GatedCell, kinds: Mapping[str, str]) -> tuple[int, int] | None:
    """The (input_size, hidden_size) at which the arrays are the cell's, or None."""
    lengths = sorted({n for shape in shapes.values() for n in shape if n})
    blocks = {n // k for n in lengths for k in range(1, 2 * len(cell.gates) + 1) if n % k == 0}
    units, fed = sorted(blocks, reverse=True), range(1, 1 + len(cell.fed_back))
    side_by_side = {n - k * h for n in lengths for h in units for k in fed if n > k * h}
    inputs = sorted({*lengths, *side_by_side}, reverse=True)
    pairs = [(i, h) for h in units for i in inputs if any(i + k * h in lengths for k in (0, *fed))]
    count = sum(int(np.prod(shape)) for shape in shapes.values())

    def likely(pair: tuple[int, int]) -> tuple[bool, int]:
        return pair[0] not in lengths, abs(cell.parameter_count(*pair) - count)

    for sizes in sorted((pair for pair in pairs if cell.unfit(*pair) is None), key=likely):
        cell_arrays = CellArrays(cell, sizes)
        # the count of numbers is cheap to compare, so it comes before everything is tried
        if cell_arrays.least <= count and solve(shapes, cell_arrays, kinds):
            return sizes
    return None
