"""Finds the layout of somebody's arrays, from their names and shapes, or from names alone.

A name has several readings. Those that its shape excludes are dropped; of the others one is chosen for each
name, so that together they are all of the cell's arrays (`cover`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import combinations

import numpy as np

from ..cell import GatedCell
from ..exchange.layouts import KERAS
from .given import Implementation
from .layout import TARGETS, CellArrays, Layout, Piece, Shapes, View, columns_of, forms, row_of_two
from .words import Reading, readings, role

# one orientation for all arrays first: mixed ones fit too much
ORIENTATIONS = ("rows", "columns", "mixed")
ENOUGH = 20_000  # readings tried before an implementation counts as not understood
BIASES = ("bx", "bh")


def solve(shapes: Shapes, held: CellArrays) -> list[Layout]:
    """Layouts of arrays with these names and shapes, likeliest first; [] where they are not the cell's."""
    exact = _by_name(shapes, held)
    if exact is not None:
        return [exact]
    if not held.blocked:
        return _by_shape(shapes, held)
    for orientation in ORIENTATIONS:
        options = {n: list(_Array(n, shape, held, orientation).readings()) for n, shape in shapes.items()}
        chosen = cover(options, held.cell)
        if chosen is not None:
            return list(_orders(_layout(chosen, shapes, held, orientation), shapes))
    return []


def _by_name(shapes: Shapes, held: CellArrays) -> Layout | None:
    """The layout of arrays that have the cell's own names and shapes, or None."""
    tails = {name.rpartition(".")[2].removesuffix("_l0"): name for name in shapes}
    for biases in dict.fromkeys((held.cell.biases, 2, 1, 0)):
        same = held.with_biases(biases)
        more_biases = any("bias" in name for name in set(tails) - set(same.shapes))
        if more_biases or not set(same.shapes) <= set(tails):
            continue
        if all(shapes[tails[name]] == shape for name, shape in same.shapes.items()):
            return _exact(same, {name: tails[name] for name in same.shapes}, shapes)
    return None


def _by_shape(shapes: Shapes, held: CellArrays) -> list[Layout]:
    """The layout where every array of the cell has a shape that one of somebody's arrays alone has."""
    pairs = {}
    for name, shape in held.shapes.items():
        fits = [array for array, given in shapes.items() if given == shape]
        if len(fits) != 1:
            return []
        pairs[name] = fits[0]
    return [_exact(held, pairs, shapes)] if len(set(pairs.values())) == len(pairs) else []


def _exact(held: CellArrays, pairs: dict[str, str], shapes: Shapes) -> Layout:
    """The layout of arrays that are the cell's, as row blocks where they are such."""
    pieces = []
    for target, array in pairs.items():
        if held.blocked and target in TARGETS.values():
            gates = held.gates(target)
            form = (len(gates), held.sizes[1], *shapes[array][1:])
            pieces.append(Piece(array, target, gates, partial(np.reshape, shape=form), True))
        else:
            pieces.append(Piece(array, target, (), lambda a: a))
    ignored = tuple(name for name in shapes if name not in pairs.values())
    return Layout(held, tuple(pieces), (), ignored)


@dataclass(frozen=True)
class _Array:
    """One of somebody's arrays, and what it may be in a cell."""

    name: str
    shape: tuple[int, ...]
    held: CellArrays
    orientation: str

    def readings(self) -> Iterator[Reading]:
        """The readings of the name that the shape allows, likeliest first, with all gates named."""
        cell, tail = self.held.cell, self.name.rpartition(".")[2]
        if tail in cell.vectors and self.shape == (self.held.sizes[1],):
            yield Reading(tail, ())
            return
        if role(self.name, cell) in (*cell.states, "state"):
            return  # a state that an object keeps
        for reading in dict.fromkeys(self._possible()):
            named, count = every(reading.side, cell), self.gates(reading.side)
            if count is None or not set(reading.gates) <= set(named):
                continue
            if reading.gates and count == len(reading.gates):
                yield reading
            elif count == len(named):
                yield replace(reading, gates=self._packed(named))
            elif not reading.gates and count < len(named):
                yield from (replace(reading, gates=some) for some in combinations(named, count))

    def _possible(self) -> Iterator[Reading]:
        """What the name says, then what it does not say: every side, with the gates that the name has."""
        for bias in self._kinds():
            said = readings(_stem(self.name), self.held.cell, bias)
            yield from said
            for side in BIASES if bias else ("x", "h", "xh"):
                for gates in ((), *dict.fromkeys(r.gates for r in said if r.gates)):
                    yield Reading(side, gates, False)

    def _kinds(self) -> list[bool]:
        """[True] for a bias, [False] for a matrix; both, likelier first, where it can be either."""
        if self.name.endswith((".weight", ".bias")):
            return [self.name.endswith(".bias")]
        name, shape = self.name.lower(), self.shape
        named = name.rpartition(".")[2].startswith("b") or "bias" in name
        flat = len([n for n in shape if n > 1]) <= 1
        two = len(shape) == 2 and shape[-1] % self.held.sizes[1] == 0 and named
        kinds = [True] * (flat or two) + [False] * (len(shape) > 1)
        return sorted(kinds, reverse=named)

    def _packed(self, named: tuple[str, ...]) -> tuple[str, ...]:
        """The order of gates in one array: Keras's where the names are Keras's, else the cell's."""
        order = KERAS[self.held.cell.name].order if _of_keras(self.name, self.held.cell) else named
        return order if set(order) == set(named) else named

    def gates(self, side: str) -> int | None:
        """How many gates' blocks the array holds on this side; None where it cannot be there."""
        cell, units, size = self.held.cell, self.held.sizes[1], int(np.prod(self.shape))
        if side in BIASES:
            if size == 2 * len(cell.gates) * units and side == "bx":
                return len(cell.gates)  # both biases in one array
            return size // units if size % units == 0 and size // units <= len(cell.gates) else None
        fits = (n for n, _ in self._forms(side) if n <= len(cell.gates))
        return next(fits, None)

    def _forms(self, side: str) -> Iterator[tuple[int, View]]:
        for orientation, gates, view in forms(self.shape, self.held.sizes[1], self.held.width(side)):
            if self.orientation in (orientation, "mixed"):
                yield gates, view

    def pieces(self, reading: Reading, gates: tuple[str, ...]) -> list[Piece]:
        """Where the array is in the cell, in this reading and with the gates in this order."""
        (inputs, units), packed = self.held.sizes, len(gates) > 1
        if reading.side in self.held.cell.vectors:
            return [Piece(self.name, reading.side, (), lambda a: a)]
        if reading.side in BIASES:
            if int(np.prod(self.shape)) != 2 * len(self.held.cell.gates) * units:
                view: View = lambda a: a.reshape(-1, units)  # noqa: E731
                return [Piece(self.name, TARGETS[reading.side], gates, view, packed)]
            rows = enumerate(("bias_ih", "bias_hh"))
            return [Piece(self.name, target, gates, row_of_two(k, units), packed) for k, target in rows]
        _, view = next(self._forms(reading.side))
        if reading.side != "xh":
            return [Piece(self.name, TARGETS[reading.side], gates, view, packed)]
        return [
            Piece(self.name, "weight_ih", gates, columns_of(view, slice(None, inputs)), packed),
            Piece(self.name, "weight_hh", gates, columns_of(view, slice(inputs, None)), packed),
        ]


def _stem(name: str) -> str:
    """The name without what every torch parameter ends in."""
    return name.removesuffix(".weight").removesuffix(".bias")


def _of_keras(name: str, cell: GatedCell) -> bool:
    """Whether an array with this name is one of a Keras layer that computes the cell."""
    return "kernel" in name and cell.name in KERAS


def every(side: str, cell: GatedCell) -> tuple[str, ...]:
    """The gates that an array of this side has where no name says which."""
    return cell.recurrent if side in ("h", "bh") else cell.gates


def cover(options: Mapping[str, Sequence[Reading]], cell: GatedCell) -> dict[str, Reading] | None:
    """One reading a name, so that every block of both matrices is held exactly once, or None.

    First every name must be read, and a side with a bias have one for every gate. Only where no choice does
    that, names may be left out.
    """
    complete = _Search(options, cell, complete=True).choose(0, frozenset(), {})
    return complete or _Search(options, cell, complete=False).choose(0, frozenset(), {})


Block = tuple[str, str]  # (side, gate), or ("v", name) of a vector


@dataclass
class _Search:
    """A search, depth first, for one reading of each name; names with few readings come first."""

    options: Mapping[str, Sequence[Reading]]
    cell: GatedCell
    complete: bool
    tries: int = field(default=ENOUGH, init=False)

    def __post_init__(self) -> None:
        names = sorted(self.options, key=lambda name: len(self.options[name]))
        # a Linear's bias comes after its weight, whose side it then shares
        self.weights = {n: n.removesuffix("bias") + "weight" for n in names if n.endswith(".bias")}
        self.names = [name for name in names if name not in self.weights] + list(self.weights)
        self.needed = {("x", g) for g in self.cell.gates} | {("h", g) for g in self.cell.recurrent}
        self.needed |= {("v", vector) for vector in self.cell.vectors}

    def choose(self, k: int, used: frozenset[Block], chosen: dict[str, Reading]) -> dict[str, Reading] | None:
        """The choice with readings of the names from the k-th on added, or None where none is right."""
        self.tries -= 1
        if k == len(self.names):
            return chosen if self._whole(used) else None
        if self.tries < 0:
            return None
        for reading in self._possible(self.names[k], chosen):
            blocks = self._blocks(reading)
            if not blocks & used:
                choice = self.choose(k + 1, used | blocks, chosen | {self.names[k]: reading})
                if choice is not None:
                    return choice
        return None if self.complete else self.choose(k + 1, used, chosen)

    def _whole(self, used: frozenset[Block]) -> bool:
        """Whether the blocks are all that the cell needs; complete ones have all of a bias or none of it."""
        biased = {side for side, _ in used if side in BIASES} if self.complete else set()
        return self.needed | {(side, g) for side in biased for g in every(side, self.cell)} <= used

    def _possible(self, name: str, chosen: dict[str, Reading]) -> Sequence[Reading]:
        weight = chosen.get(self.weights.get(name, ""))
        if weight is None:
            return self.options[name]
        side = "bh" if weight.side == "h" else "bx"
        same = (r for r in self.options[name] if r.side == side and set(r.gates) == set(weight.gates))
        first = next(same, None)
        return self.options[name] if first is None else [first]

    def _blocks(self, reading: Reading) -> frozenset[Block]:
        if reading.side in self.cell.vectors:
            return frozenset({("v", reading.side)})
        sides = ("x", "h") if reading.side == "xh" else (reading.side,)
        return frozenset((side, gate) for side in sides for gate in reading.gates)


def _layout(chosen: dict[str, Reading], shapes: Shapes, held: CellArrays, orientation: str) -> Layout:
    """The layout of arrays whose readings were chosen."""
    keras = any("kernel" in name for name in chosen)
    order = KERAS[held.cell.name].order if any(_of_keras(name, held.cell) for name in chosen) else ()
    pieces: list[Piece] = []
    for name, reading in chosen.items():
        gates = order if order and set(order) == set(reading.gates) else reading.gates
        pieces += _Array(name, shapes[name], held, orientation).pieces(reading, gates)
    targets = {piece.target for piece in pieces}
    biases = 2 if "bias_hh" in targets else 1 if "bias_ih" in targets else 0
    words = [f"Keras arrays, gate order {', '.join(order)}"] if order else []
    words += ["matrices (K, G * H)"] if orientation == "columns" and not keras else []
    ignored = tuple(name for name in shapes if name not in chosen)
    return Layout(held.with_biases(biases), tuple(pieces), tuple(words), ignored)


def _orders(layout: Layout, shapes: Shapes) -> Iterator[Layout]:
    """The layout and, where x and h lie side by side in one matrix, the one with h first."""
    yield layout
    by_target = [{p.array for p in layout.pieces if p.target == t} for t in ("weight_ih", "weight_hh")]
    joint, (inputs, units) = by_target[0] & by_target[1], layout.held.sizes
    columns = {"weight_ih": slice(units, None), "weight_hh": slice(None, units)}
    if not joint:
        return
    pieces = []
    for piece in layout.pieces:
        if piece.array in joint and piece.target in columns:
            views = forms(shapes[piece.array], units, inputs + units)
            view = next(view for _, gates, view in views if gates == len(piece.gates))
            piece = replace(piece, view=columns_of(view, columns[piece.target]))
        pieces.append(piece)
    yield replace(layout, pieces=tuple(pieces), words=(*layout.words, "matrices take [h, x]"))


def invent(
    names: Sequence[str], held: CellArrays, partly: bool = False, two: bool = False
) -> Iterator[tuple[Shapes, list[Layout]]]:
    """For arrays of which only the names are known: shapes that fit, and their layouts, likeliest first.

    partly: the names need not be all of the cell's arrays. two: one array of both biases is likelier than one
    bias.
    """
    exact = {name for name in names if name in held.shapes}
    if exact == set(names):
        shapes = {name: s for name, s in held.with_biases(2).shapes.items() if name in exact}
        yield shapes, solve(shapes, held)
    if not held.blocked:
        return
    options = {name: _said(name, held.cell) for name in names}
    first = {name: said[0] for name, said in options.items() if said}
    chosen = first if partly else cover(options, held.cell)
    if not chosen:
        return
    chosen = {name: chosen[name] for name in names if name in chosen}
    kernels = any("kernel" in name for name in names)
    for orientation in ("columns", "rows") if kernels else ("rows", "columns"):
        for bias in _bias_forms(chosen, two):
            shapes = {name: _shape(reading, held, orientation, bias) for name, reading in chosen.items()}
            yield shapes, list(_orders(_layout(chosen, shapes, held, orientation), shapes))


def _said(name: str, cell: GatedCell) -> list[Reading]:
    """The readings of a name alone, with all gates where none is named; [] where it says nothing."""
    if name in cell.vectors:
        return [Reading(name, ())]
    said = readings(_stem(name), cell)
    if not any(reading.certain or reading.gates for reading in said):
        return []
    return [r if r.gates else replace(r, gates=every(r.side, cell)) for r in said]


def _bias_forms(chosen: dict[str, Reading], two: bool) -> list[str]:
    """Forms of bias to try: flat (G * H,), column (G * H, 1), two (2, G * H) for both in one array."""
    biases = [reading for reading in chosen.values() if reading.side in BIASES]
    forms = ["two", "flat", "column"] if two else ["flat", "column", "two"]
    return [f for f in forms if f == "flat" or (len(biases) == 1 if f == "two" else biases)]


def _shape(reading: Reading, held: CellArrays, orientation: str, bias: str) -> tuple[int, ...]:
    """The shape of an array that is what the reading says."""
    units = held.sizes[1]
    length = len(reading.gates) * units
    if reading.side in held.cell.vectors:
        return (units,)
    if reading.side in BIASES:
        return {"flat": (length,), "column": (length, 1), "two": (2, length)}[bias]
    width = held.width(reading.side)
    return (width, length) if orientation == "columns" else (length, width)


def at_sizes(
    implementation: Implementation, cell: GatedCell, sizes: tuple[int, int], asked: bool
) -> CellArrays:
    """The cell at the sizes of the implementation's own arrays, or at `sizes` where these say nothing.

    Raises ValueError where others were asked for.
    """
    if not implementation.arrays or implementation.made:
        return CellArrays(cell, sizes)
    shapes = {name: array.shape for name, array in implementation.arrays.items()}
    likely = _likely_sizes(shapes, cell)
    if likely and asked and likely != sizes:
        raise ValueError(
            f"{implementation.label} has arrays of input_size and hidden_size {likely}, asked for are {sizes};"
            " leave the sizes out"
        )
    return CellArrays(cell, likely or sizes)


def _likely_sizes(shapes: Shapes, cell: GatedCell) -> tuple[int, int] | None:
    """The (input_size, hidden_size) at which the arrays are the cell's, or None."""
    lengths = sorted({n for shape in shapes.values() for n in shape if n})
    blocks = {n // k for n in lengths for k in range(1, 2 * len(cell.gates) + 1) if n % k == 0}
    units = sorted(blocks, reverse=True)
    inputs = sorted({*lengths, *(n - h for n in lengths for h in units if n > h)}, reverse=True)
    pairs = [(i, h) for h in units for i in inputs if i + h in lengths or i in lengths]
    count = sum(int(np.prod(shape)) for shape in shapes.values())
    for sizes in sorted(pairs, key=lambda pair: pair[0] not in lengths):
        # the number of entries is cheap to compare, so it comes before everything is tried
        if cell.unfit(*sizes) is None and replace(cell, biases=0).parameter_count(*sizes) <= count:
            if solve(shapes, CellArrays(cell, sizes)):
                return sizes
    return None
