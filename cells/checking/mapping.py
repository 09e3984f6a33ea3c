"""Finds the layout of somebody's arrays, from their names and shapes, or from names alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np

from ..cell import GatedCell
from ..exchange.layouts import KERAS
from .cover import cover, every
from .layouts import TARGETS, Layout, Piece, Shapes, View, blocked
from .names import Reading, readings, role

ORIENTATIONS = ("rows", "columns", "mixed")


def solve(shapes: Shapes, cell: GatedCell, sizes: tuple[int, int]) -> list[Layout]:
    """Layouts of arrays with these names and shapes, likeliest first; [] where they are not the cell's."""
    whole = by_name(shapes, cell, sizes)
    if whole is not None:
        return [whole]
    if not blocked(cell, sizes):
        return by_shape(shapes, cell, sizes)
    found = []
    for orientation in ORIENTATIONS:
        options = {
            name: list(_shaped(name, shape, cell, sizes, orientation)) for name, shape in shapes.items()
        }
        chosen = cover(options, cell)
        if chosen is not None:
            found.append(_layout(chosen, shapes, cell, sizes, orientation))
            break
    return [other for layout in found for other in _orders(layout, shapes)]


def by_name(shapes: Shapes, cell: GatedCell, sizes: tuple[int, int]) -> Layout | None:
    """The layout of arrays that have the cell's own names and shapes, or None."""
    tails = {name.rpartition(".")[2].removesuffix("_l0"): name for name in shapes}
    for biases in dict.fromkeys((cell.biases, 2, 1, 0)):
        same = replace(cell, biases=biases)
        want = same.parameter_shapes(*sizes)
        more_biases = any("bias" in name for name in set(tails) - set(want))
        if (
            set(want) <= set(tails)
            and not more_biases
            and all(shapes[tails[k]] == shape for k, shape in want.items())
        ):
            return _exact(same, sizes, {name: tails[name] for name in want}, shapes)
    return None


def by_shape(shapes: Shapes, cell: GatedCell, sizes: tuple[int, int]) -> list[Layout]:
    """The layout where every array of the cell has a shape that one of somebody's arrays alone has, perhaps
    transposed.
    """
    want, pairs = cell.parameter_shapes(*sizes), {}
    for name, shape in want.items():
        fits = [own for own, given in shapes.items() if given == shape]
        if len(fits) != 1:
            return []
        pairs[name] = fits[0]
    return [_exact(cell, sizes, pairs, shapes)] if len(set(pairs.values())) == len(want) else []


def _exact(cell: GatedCell, sizes: tuple[int, int], pairs: dict[str, str], shapes: Shapes) -> Layout:
    """The layout of arrays that are the cell's, as row blocks where they are such."""
    units, pieces = sizes[1], []
    for name, own in pairs.items():
        gates = cell.gates if name.endswith("_ih") else cell.recurrent
        if blocked(cell, sizes) and name in TARGETS.values():
            form = (len(gates), units, *shapes[own][1:])
            pieces.append(Piece(own, name, gates, partial(np.reshape, shape=form), True))
        else:
            pieces.append(Piece(own, name, (), lambda a: a))
    ignored = tuple(name for name in shapes if name not in pairs.values())
    return Layout(cell, tuple(pieces), sizes, (), ignored)


def _shaped(
    name: str, shape: tuple[int, ...], cell: GatedCell, sizes: tuple[int, int], orientation: str
) -> Iterator[Reading]:
    """The readings of a name that its shape allows, likeliest first; gates are filled in."""
    exact = name.rpartition(".")[2]
    if exact in cell.vectors and shape == (sizes[1],):
        yield Reading(exact, ())
        return
    if role(name, cell) in (*cell.states, "state"):
        return  # a state that an object keeps
    said: list[Reading] = []
    for bias in _kinds(name, shape, sizes[1]):
        told = readings(_base(name), cell, bias)
        sides = ("bx", "bh") if bias else ("x", "h", "xh")
        gates = [(), *dict.fromkeys(r.gates for r in told if r.gates)]
        said += [*told, *(Reading(side, some, False) for side in sides for some in gates)]
    for reading in dict.fromkeys(said):
        count = _gates(reading.side, shape, sizes, cell, orientation)
        named = cell.recurrent if reading.side in ("h", "bh") else cell.gates
        if count is None or not set(reading.gates) <= set(named):
            continue
        if reading.gates and count == len(reading.gates):
            yield reading
        elif count == len(named):
            yield replace(reading, gates=_packed_order(name, cell, named))
        elif not reading.gates and count < len(named):
            yield from (replace(reading, gates=some) for some in combinations(named, count))


def _kinds(name: str, shape: tuple[int, ...], units: int) -> list[bool]:
    """Whether it can be a bias, and whether it can be a matrix, likelier first."""
    if name.endswith((".weight", ".bias")):
        return [name.endswith(".bias")]
    named = name.lower().rpartition(".")[2].startswith("b") or "bias" in name.lower()
    flat = len([n for n in shape if n > 1]) <= 1 or (len(shape) == 2 and shape[-1] % units == 0 and named)
    kinds = [True] * flat + [False] * (len(shape) > 1)
    return sorted(kinds, reverse=named)


def _base(name: str) -> str:
    """The name without what every torch parameter ends in."""
    return name.removesuffix(".weight").removesuffix(".bias")


def _packed_order(name: str, cell: GatedCell, named: tuple[str, ...]) -> tuple[str, ...]:
    """The order of gates in one array: Keras's where the names are Keras's, else the cell's."""
    if "kernel" in name or name.rpartition(".")[2] == "bias":
        order = KERAS[cell.name].order if cell.name in KERAS and "kernel" in name else named
        return order if set(order) == set(named) else named
    return named


def _gates(
    side: str, shape: tuple[int, ...], sizes: tuple[int, int], cell: GatedCell, orientation: str
) -> int | None:
    """How many gates' blocks an array of this shape holds on this side; None where it cannot be there."""
    units, size = sizes[1], int(np.prod(shape))
    if side in ("bx", "bh"):
        if size == 2 * len(cell.gates) * units and side == "bx":
            return len(cell.gates)  # both biases in one array
        return size // units if size % units == 0 and size // units <= len(cell.gates) else None
    wide = {"x": sizes[0], "h": units, "xh": sum(sizes)}[side]
    return next(
        (n for o, n, _ in forms(shape, units, wide) if orientation in (o, "mixed") and n <= len(cell.gates)),
        None,
    )


def forms(shape: tuple[int, ...], units: int, wide: int) -> Iterator[tuple[str, int, View]]:
    """(orientation, number of gates, view as (gates, H, K)) of each way to see a shape as blocks with K
    columns.
    """
    if len(shape) == 3 and shape[1:] == (units, wide):
        yield "rows", shape[0], lambda a: a
    if len(shape) == 3 and shape[1:] == (wide, units):
        yield "columns", shape[0], lambda a: a.swapaxes(1, 2)
    if len(shape) == 3 and shape[0] == 1:
        for orientation, n, view in forms(shape[1:], units, wide):
            yield orientation, n, _first_of(view)
    if len(shape) != 2:
        return
    if shape[1] == wide and shape[0] % units == 0:
        yield "rows", shape[0] // units, lambda a: a.reshape(-1, units, wide)
    if shape[0] == wide and shape[1] % units == 0:
        yield "columns", shape[1] // units, lambda a: a.reshape(wide, -1, units).transpose(1, 2, 0)


def _first_of(view: View) -> View:
    return lambda a: view(a[0])


def _layout(
    chosen: dict[str, Reading], shapes: Shapes, cell: GatedCell, sizes: tuple[int, int], orientation: str
) -> Layout:
    keras = any("kernel" in name for name in chosen)
    order = KERAS[cell.name].order if keras and cell.name in KERAS else None
    pieces = [
        p
        for name, reading in chosen.items()
        for p in _pieces(name, reading, shapes[name], cell, sizes, orientation, order)
    ]
    targets = {p.target for p in pieces}
    biases = 2 if "bias_hh" in targets else 1 if "bias_ih" in targets else 0
    words = [f"{'Keras arrays, ' if keras else ''}gate order {', '.join(order)}"] if order else []
    words += ["matrices (K, G * H)"] if orientation == "columns" and not keras else []
    ignored = tuple(name for name in shapes if name not in chosen)
    return Layout(replace(cell, biases=biases), tuple(pieces), sizes, tuple(words), ignored)


def _pieces(name, reading, shape, cell, sizes, orientation, order) -> Iterator[Piece]:
    inputs, units = sizes
    if reading.side in cell.vectors:
        yield Piece(name, reading.side, (), lambda a: a)
        return
    packed = len(reading.gates) > 1
    gates = order if order and set(order) == set(reading.gates) else reading.gates
    if reading.side in ("bx", "bh"):
        if int(np.prod(shape)) == 2 * len(cell.gates) * units:
            for k, target in enumerate(("bias_ih", "bias_hh")):
                yield Piece(name, target, gates, _bias_of_two(k, units), packed)
        else:
            yield Piece(name, TARGETS[reading.side], gates, lambda a: a.reshape(-1, units), packed)
        return
    wide = {"x": inputs, "h": units, "xh": inputs + units}[reading.side]
    view = next(v for o, n, v in forms(shape, units, wide) if orientation in (o, "mixed"))
    if reading.side != "xh":
        yield Piece(name, TARGETS[reading.side], gates, view, packed)
        return
    yield Piece(name, "weight_ih", gates, _part(view, slice(None, inputs)), packed)
    yield Piece(name, "weight_hh", gates, _part(view, slice(inputs, None)), packed)


def _bias_of_two(which: int, units: int) -> View:
    return lambda a: a.reshape(2, -1, units)[which]


def _part(view: View, part: slice) -> View:
    return lambda a: view(a)[..., part]


def _orders(layout: Layout, shapes: Shapes) -> Iterator[Layout]:
    """The layout and, where x and h lie side by side in one matrix, the one with h first."""
    yield layout
    joint = {p.own for p in layout.pieces if p.target == "weight_ih"} & {
        p.own for p in layout.pieces if p.target == "weight_hh"
    }
    if not joint:
        return
    inputs, units = layout.sizes
    pieces = []
    for piece in layout.pieces:
        if piece.own in joint and piece.target in ("weight_ih", "weight_hh"):
            view = next(
                v for o, n, v in forms(shapes[piece.own], units, inputs + units) if n == len(piece.gates)
            )
            part = slice(units, None) if piece.target == "weight_ih" else slice(None, units)
            piece = replace(piece, view=_part(view, part))
        pieces.append(piece)
    yield replace(layout, pieces=tuple(pieces), words=(*layout.words, "matrices take [h, x]"))


def invent(
    names: Sequence[str], cell: GatedCell, sizes: tuple[int, int], partly: bool = False, two: bool = False
) -> Iterator[tuple[Shapes, list[Layout]]]:
    """For arrays of which only the names are known: shapes that fit, and their layouts, likeliest first.

    partly: the names need not be all of the cell's arrays. two: one array of both biases is likelier than one
    bias.
    """
    inputs, units = sizes
    exact = {n for n in names if n in cell.parameter_shapes(*sizes)}
    if exact == set(names) or not blocked(cell, sizes):
        shapes = {n: s for n, s in replace(cell, biases=2).parameter_shapes(*sizes).items() if n in exact}
        if exact == set(names):
            yield shapes, solve(shapes, cell, sizes)
        if not blocked(cell, sizes):
            return
    options = {}
    for name in names:
        said = [Reading(name, ())] if name in cell.vectors else readings(_base(name), cell)
        said = said if any(r.certain or r.gates for r in said) else []
        options[name] = [
            r if r.gates or r.side in cell.vectors else replace(r, gates=every(r.side, cell)) for r in said
        ]
    chosen = {name: said[0] for name, said in options.items() if said} if partly else cover(options, cell)
    if not chosen:
        return
    chosen = {name: chosen[name] for name in names if name in chosen}
    widths = {"x": inputs, "h": units, "xh": inputs + units}
    for orientation in ("columns", "rows") if any("kernel" in n for n in names) else ("rows", "columns"):
        for bias in ("two", "flat", "column") if two else ("flat", "column", "two"):
            shapes = {}
            for name, reading in chosen.items():
                long = len(reading.gates) * units
                if reading.side in widths:
                    shapes[name] = (long, widths[reading.side])
                    if orientation == "columns":
                        shapes[name] = shapes[name][::-1]
                elif reading.side in cell.vectors:
                    shapes[name] = (units,)
                else:
                    shapes[name] = {"flat": (long,), "column": (long, 1), "two": (2, long)}[bias]
            if bias != "flat" and not any(r.side in ("bx", "bh") for r in chosen.values()):
                continue
            if bias == "two" and sum(r.side in ("bx", "bh") for r in chosen.values()) != 1:
                continue
            yield shapes, list(_orders(_layout(chosen, shapes, cell, sizes, orientation), shapes))


def likely_sizes(shapes: Shapes, cell: GatedCell) -> tuple[int, int] | None:
    """The (input_size, hidden_size) at which the arrays are the cell's, or None."""
    lengths = sorted({n for shape in shapes.values() for n in shape if n})
    whole = sorted(
        {n // k for n in lengths for k in range(1, 2 * len(cell.gates) + 1) if n % k == 0}, reverse=True
    )
    inputs = sorted({*lengths, *(n - h for n in lengths for h in whole if n > h)}, reverse=True)
    pairs = [(i, h) for h in whole for i in inputs if i + h in lengths or i in lengths]
    for sizes in sorted(pairs, key=lambda p: p[0] not in lengths):
        if cell.unfit(*sizes) is None and _plausible(shapes, cell, sizes) and solve(shapes, cell, sizes):
            return sizes
    return None


def _plausible(shapes: Shapes, cell: GatedCell, sizes: tuple[int, int]) -> bool:
    """Whether there are as many numbers as the cell has at least: cheap, before everything is tried."""
    least = replace(cell, biases=0).parameter_count(*sizes)
    return least <= sum(int(np.prod(s)) for s in shapes.values())


def describe(arrays: dict[str, Any]) -> str:
    """Names and shapes in a line."""
    return ", ".join(f"{name} {tuple(np.shape(a))}" for name, a in arrays.items()) or "none"
