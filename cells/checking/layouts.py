"""How somebody's arrays hold a cell's: which part of which array is which gate's block of weight_ih,
weight_hh and the biases.

A layout is a list of pieces. A piece is a view of one array, so that it reads parameters and gradients and
writes parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ..cell import GatedCell

Arrays = dict[str, np.ndarray]
Shapes = dict[str, tuple[int, ...]]
View = Callable[[np.ndarray], np.ndarray]
TARGETS = {"x": "weight_ih", "h": "weight_hh", "bx": "bias_ih", "bh": "bias_hh"}


@dataclass(frozen=True)
class Piece:
    """The blocks (n, H, K) or (n, H) of `gates` in the cell's array `target`, seen in somebody's array `own`.

    gates () means that the array is the cell's as a whole. packed: the order of the gates is not said by any
    name.
    """

    own: str
    target: str
    gates: tuple[str, ...]
    view: View
    packed: bool = False


@dataclass(frozen=True)
class Layout:
    """The cell with as many biases as there are, and where each of its arrays is. ignored: arrays that are
    none of them.
    """

    cell: GatedCell
    pieces: tuple[Piece, ...]
    sizes: tuple[int, int]
    words: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()

    def read(self, arrays: Arrays) -> Arrays:
        """The cell's arrays (or their gradients), float64; zeros where there is none."""
        made = {name: np.zeros(shape) for name, shape in self.cell.parameter_shapes(*self.sizes).items()}
        for piece in self.pieces:
            part = piece.view(np.asarray(arrays[piece.own], np.float64))
            if piece.gates:
                rows = self.rows(made, piece.target)
                for k, gate in enumerate(piece.gates):
                    rows[self.at(piece.target, gate)] = part[k]
            else:
                made[piece.target][...] = part
        return made

    def write(self, params: Arrays, shapes: Shapes) -> Arrays:
        """Arrays in somebody's shapes that hold the cell's; zeros where none of the cell's belongs."""
        made = {name: np.zeros(shape) for name, shape in shapes.items()}
        for piece in self.pieces:
            part = piece.view(made[piece.own])
            if piece.gates:
                rows = self.rows(params, piece.target)
                for k, gate in enumerate(piece.gates):
                    part[k] = rows[self.at(piece.target, gate)]
            else:
                part[...] = params[piece.target]
        return made

    def rows(self, params: Arrays, target: str) -> np.ndarray:
        """The array's blocks by gate, as a view."""
        return params[target].reshape(len(self.names(target)), -1, *params[target].shape[1:])

    def names(self, target: str) -> tuple[str, ...]:
        """The gates of the array's row blocks."""
        return self.cell.gates if target.endswith("_ih") else self.cell.recurrent

    def at(self, target: str, gate: str) -> int:
        return self.names(target).index(gate)

    def permuted(self, order: tuple[str, ...]) -> Layout:
        """The same where what is held for the cell's k-th gate is gate order[k]'s."""
        exchange = dict(zip(self.cell.gates, order, strict=True))
        return replace(
            self, pieces=tuple(replace(p, gates=tuple(exchange[g] for g in p.gates)) for p in self.pieces)
        )

    def covered(self) -> set[str]:
        """The cell's arrays that are held somewhere."""
        return {piece.target for piece in self.pieces}


def blocked(cell: GatedCell, sizes: tuple[int, int]) -> bool:
    """Whether the cell's matrices are row blocks by gate, (G * H, I) and (R * H, H)."""
    shapes, units = cell.shapes(*sizes), cell.units(sizes[1])
    want = {
        "weight_ih": (len(cell.gates) * units, sizes[0]),
        "weight_hh": (len(cell.recurrent) * units, units),
    }
    return units == sizes[1] and all(shapes.get(name) == shape for name, shape in want.items())
