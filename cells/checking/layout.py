"""A layout says how somebody's arrays hold a cell's: which view of which array is which gate's block.

It is a list of pieces. A piece is a view of one array, through which parameters and gradients are read and
parameters are written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate, permutations, product

import numpy as np

from ..cell import GatedCell
from ..derived import layers

Arrays = dict[str, np.ndarray]
Shapes = dict[str, tuple[int, ...]]
View = Callable[[np.ndarray], np.ndarray]
BIASES = ("bx", "bh")
TARGETS = {"x": "weight_ih", "h": "weight_hh", "bx": "bias_ih", "bh": "bias_hh"}


@dataclass(frozen=True)
class CellArrays:
    """The arrays of a cell at its sizes (input_size, hidden_size)."""

    cell: GatedCell
    sizes: tuple[int, int]

    @cached_property
    def shapes(self) -> Shapes:
        """Shapes by name, in the cell's order."""
        return self.cell.parameter_shapes(*self.sizes)

    @cached_property
    def blocked(self) -> bool:
        """Whether the cell's matrices are row blocks by gate, (G * H, I) and (R * H, H)."""
        shapes, units = self.cell.shapes(*self.sizes), self.cell.units(self.sizes[1])
        blocks = {
            "weight_ih": (len(self.cell.gates) * units, self.sizes[0]),
            "weight_hh": (len(self.cell.recurrent) * units, units),
        }
        rows = units == self.sizes[1] and not self.cell.stacked
        return rows and all(shapes.get(name) == shape for name, shape in blocks.items())

    @cached_property
    def plain(self) -> bool:
        """Whether there are the two matrices by gate and their biases alone."""
        return self.blocked and set(self.shapes) <= set(TARGETS.values())

    @cached_property
    def output(self) -> int:
        """The width of the cell's output."""
        return self.cell.output_size(*self.sizes)

    @cached_property
    def least(self) -> int:
        """How many numbers the arrays have at least."""
        return replace(self.cell, biases=0).parameter_count(*self.sizes)

    @cached_property
    def gates(self) -> dict[str, tuple[str, ...]]:
        """The gates of an array's row blocks, by the array's name."""
        cell = self.cell
        names = dict.fromkeys(TARGETS.values(), cell.recurrent) | dict.fromkeys(
            ("weight_ih", "bias_ih"), cell.gates
        )
        suffixes = [layer.suffix for layer in layers.of(cell, *self.sizes)]
        return {name + suffix: gates for suffix in suffixes for name, gates in names.items()}

    @cached_property
    def widths(self) -> dict[str, int]:
        """Columns of a matrix that takes x, h, or both side by side (xh)."""
        inputs, units = self.sizes
        return {"x": inputs, "h": units, "xh": inputs + units}


@dataclass(frozen=True)
class Piece:
    """The blocks (n, H, K) or (n, H) of `gates` in the cell's array `target`, viewed in somebody's `array`.

    gates () means that the array is the cell's as it stands, or its part `into`. packed: no name says the
    order of the gates.
    """

    array: str
    target: str
    gates: tuple[str, ...]
    view: View
    packed: bool = False
    into: View | None = None


@dataclass(frozen=True)
class Layout:
    """The cell's arrays, with as many biases as there are, and where each of them is cell_arrays.

    words say what is unusual. ignored: arrays that are none of the cell's. readout: arrays that were made for
    a read-out of the state.
    """

    cell_arrays: CellArrays
    pieces: tuple[Piece, ...]
    words: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    readout: Arrays = field(default_factory=dict)

    @property
    def cell(self) -> GatedCell:
        return self.cell_arrays.cell

    def read(self, arrays: Arrays) -> Arrays:
        """The cell's arrays (or their gradients), float64; zeros where there is none."""
        params = {name: np.zeros(shape) for name, shape in self.cell_arrays.shapes.items()}
        for piece in self.pieces:
            blocks = piece.view(np.asarray(arrays[piece.array], np.float64))
            for target, block in self._pairs(piece, params, blocks):
                target[...] = block
        return params

    def write(self, params: Arrays, shapes: Shapes) -> Arrays:
        """Arrays in somebody's shapes that hold the cell's; zeros where none of the cell's belongs."""
        arrays = {name: np.zeros(shape) for name, shape in shapes.items()}
        for piece in self.pieces:
            for target, block in self._pairs(piece, params, piece.view(arrays[piece.array])):
                block[...] = target
        return arrays

    def _pairs(
        self, piece: Piece, params: Arrays, blocks: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(block of the cell's array, block of somebody's) of each gate, both as views."""
        target = params[piece.target]
        if not piece.gates:
            yield target if piece.into is None else piece.into(target), blocks
            return
        gates = self.cell_arrays.gates[piece.target]
        rows = target.reshape(len(gates), -1, *target.shape[1:])
        for k, gate in enumerate(piece.gates):
            yield rows[gates.index(gate)], blocks[k]

    def permuted(self, order: tuple[str, ...]) -> Layout:
        """The same where the arrays of the cell's k-th gate are those of gate order[k]."""
        exchange = dict(zip(self.cell.gates, order, strict=True))
        pieces = (replace(p, gates=tuple(exchange.get(g, g) for g in p.gates)) for p in self.pieces)
        return replace(self, pieces=tuple(pieces))

    @property
    def interleaved(self) -> Layout | None:
        """The same where packed rows go gate by gate within each unit, or None where nothing is packed."""
        if not any(piece.packed for piece in self.pieces):
            return None
        pieces = (replace(p, view=_by_unit(p.view)) if p.packed and p.gates else p for p in self.pieces)
        return replace(self, pieces=tuple(pieces))

    def orders(self, shapes: Shapes) -> list[Layout]:
        """The layout and, where x and h lie side by side in one matrix, the one with h first."""
        arrays = [{p.array for p in self.pieces if p.target == t} for t in ("weight_ih", "weight_hh")]
        joint, units = arrays[0] & arrays[1], self.cell_arrays.sizes[1]
        if not joint:
            return [self]
        columns = {"weight_ih": slice(units, None), "weight_hh": slice(None, units)}
        pieces = []
        for piece in self.pieces:
            if piece.array in joint and piece.target in columns:
                views = _forms(shapes[piece.array], units, self.cell_arrays.widths["xh"])
                view = next(view for _, gates, view in views if gates == len(piece.gates))
                piece = replace(piece, view=_columns(view, columns[piece.target]))
            pieces.append(piece)
        return [self, replace(self, pieces=tuple(pieces), words=(*self.words, "matrices take [h, x]"))]

    @property
    def covered(self) -> set[str]:
        """The cell's arrays that are held somewhere."""
        return {piece.target for piece in self.pieces}


def _by_unit(view: View) -> View:
    def interleaved(array: np.ndarray) -> np.ndarray:
        blocks = view(array)
        gates, units = blocks.shape[:2]
        index = np.arange(gates * units).reshape(units, gates).T
        return blocks.reshape(gates * units, *blocks.shape[2:])[index]

    return interleaved


@dataclass(frozen=True)
class Array:
    """One of somebody's arrays: how many gates it may hold, and where.

    orientation: rows (G * H, K), columns (K, G * H), or mixed for either.
    """

    name: str
    shape: tuple[int, ...]
    cell_arrays: CellArrays
    orientation: str

    def count(self, side: str) -> int | None:
        """How many gates' blocks it holds on this side; None where it cannot be there."""
        gates, units = len(self.cell_arrays.cell.gates), self.cell_arrays.sizes[1]
        size = int(np.prod(self.shape))
        if side not in BIASES:
            return next((n for n, _ in self._forms(side) if n <= gates), None)
        if size == 2 * gates * units and side == "bx":
            return gates  # both biases in one array
        return size // units if size % units == 0 and size // units <= gates else None

    def pieces(self, side: str, gates: tuple[str, ...]) -> list[Piece]:
        """Where it is in the cell, with its gates in this order."""
        (inputs, units), packed = self.cell_arrays.sizes, len(gates) > 1
        if side in self.cell_arrays.cell.vectors:
            return [Piece(self.name, side, (), lambda a: a)]
        if side in BIASES:
            if int(np.prod(self.shape)) != 2 * len(self.cell_arrays.cell.gates) * units:
                return [Piece(self.name, TARGETS[side], gates, _blocks(units), packed)]
            rows = enumerate(("bias_ih", "bias_hh"))
            return [Piece(self.name, target, gates, _row_of_two(k, units), packed) for k, target in rows]
        _, view = next(self._forms(side))
        if side != "xh":
            return [Piece(self.name, TARGETS[side], gates, view, packed)]
        return [
            Piece(self.name, "weight_ih", gates, _columns(view, slice(None, inputs)), packed),
            Piece(self.name, "weight_hh", gates, _columns(view, slice(inputs, None)), packed),
        ]

    def _forms(self, side: str) -> Iterator[tuple[int, View]]:
        for orientation, gates, view in _forms(
            self.shape, self.cell_arrays.sizes[1], self.cell_arrays.widths[side]
        ):
            if self.orientation in (orientation, "mixed"):
                yield gates, view


def in_one(name: str, shape: tuple[int, ...], cell_arrays: CellArrays) -> list[Layout]:
    """Layouts of one array that holds all: both matrices and the bias, which meets a one beside x and h."""
    (inputs, units), cell = cell_arrays.sizes, cell_arrays.cell
    if not cell_arrays.plain or cell.gates != cell.recurrent:
        return []
    one = CellArrays(replace(cell, biases=1), cell_arrays.sizes)
    widths = {"1": 1, "x": inputs, "h": units}
    found = []
    for (_, count, view), order in product(_forms(shape, units, sum(widths.values())), permutations(widths)):
        if count != len(cell.gates):
            continue
        ends = dict(zip(order, accumulate(widths[part] for part in order), strict=True))
        pieces = [
            Piece(name, TARGETS[part], cell.gates, _columns(view, slice(end - widths[part], end)), True)
            for part, end in ends.items()
            if part != "1"
        ]
        bias = Piece(name, "bias_ih", cell.gates, _column(view, ends["1"] - 1), True)
        found.append(Layout(one, (*pieces, bias), (f"one matrix takes [{', '.join(order)}]",)))
    return found


def _forms(shape: tuple[int, ...], units: int, wide: int) -> Iterator[tuple[str, int, View]]:
    """(orientation, gates, view as (gates, H, K)) of each way to read a shape as blocks of K columns."""
    if len(shape) == 3 and shape[1:] == (units, wide):
        yield "rows", shape[0], lambda a: a
    if len(shape) == 3 and shape[1:] == (wide, units):
        yield "columns", shape[0], lambda a: a.swapaxes(1, 2)
    if len(shape) == 3 and shape[0] == 1:  # an axis of layers or directions, as ONNX has it
        for orientation, gates, view in _forms(shape[1:], units, wide):
            yield orientation, gates, _first_of(view)
    if len(shape) != 2:
        return
    if shape[1] == wide and shape[0] % units == 0:
        yield "rows", shape[0] // units, lambda a: a.reshape(-1, units, wide)
    if shape[0] == wide and shape[1] % units == 0:
        yield "columns", shape[1] // units, lambda a: a.reshape(wide, -1, units).transpose(1, 2, 0)


def _first_of(view: View) -> View:
    return lambda a: view(a[0])


def _columns(view: View, columns: slice) -> View:
    return lambda a: view(a)[..., columns]


def _column(view: View, column: int) -> View:
    return lambda a: view(a)[..., column]


def _blocks(units: int) -> View:
    return lambda a: a.reshape(-1, units)


def _row_of_two(row: int, units: int) -> View:
    return lambda a: a.reshape(2, -1, units)[row]
