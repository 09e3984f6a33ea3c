"""The layers of a cell of several layers or both directions, each a cell of one layer in one direction.

Arrays are named as torch.nn names them: those of a layer have the suffix _l0, _l0_reverse, _l1 ...; without
one where there is one layer alone. Layer k > 0 takes the outputs of all directions of layer k - 1, side by
side.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from ..contract import Equations, Shapes
from . import init

READ_OUT = ("weight_out", "bias_out")
Cell = TypeVar("Cell", bound=Equations)


@dataclass(frozen=True)
class Layer:
    """One layer in one direction; `depth` is 0 for the layer that takes x."""

    suffix: str
    depth: int
    reverse: bool
    input_size: int


def of(cell: Equations, input_size: int, hidden_size: int) -> list[Layer]:
    """The cell's layers in torch's order: by depth, forward before reverse."""
    layers, directions = [], (False, True)[: cell.directions]
    for depth in range(cell.layers):
        for reverse in directions:
            suffix = f"_l{depth}{'_reverse' * reverse}" if cell.stacked else ""
            layers.append(Layer(suffix, depth, reverse, input_size))
        input_size = cell.directions * cell.emitted(input_size, hidden_size)
    return layers


def single(cell: Cell) -> Cell:
    """The cell of one layer: no stack, and no read-out."""
    return replace(cell, layers=1, bidirectional=False, readout=0)


def width(cell: Equations, input_size: int, hidden_size: int) -> int:
    """Width of the last layer's output, both directions, before a read-out."""
    last = of(cell, input_size, hidden_size)[-1]
    return cell.directions * cell.emitted(last.input_size, hidden_size)


def shapes(cell: Equations, input_size: int, hidden_size: int) -> Shapes:
    """Shapes of all arrays by name, the read-out's last."""
    stored = {
        name + layer.suffix: shape
        for layer in of(cell, input_size, hidden_size)
        for name, shape in cell.shapes(layer.input_size, hidden_size).items()
    }
    return stored | read_out(cell, input_size, hidden_size)


def read_out(cell: Equations, input_size: int, hidden_size: int) -> Shapes:
    """Shapes of the read-out's arrays, none where there is no read-out."""
    if not cell.readout:
        return {}
    return {"weight_out": (cell.readout, width(cell, input_size, hidden_size)), "bias_out": (cell.readout,)}


def unfit(cell: Equations, input_size: int, hidden_size: int) -> str | None:
    """None, or the reason why a layer of the cell cannot have these sizes."""
    for layer in of(cell, input_size, hidden_size):
        if reason := cell.unfit(layer.input_size, hidden_size):
            return f"layer {layer.depth}: {reason}" if layer.depth else reason
    return None


def initialise(
    cell: Equations, sizes: tuple[int, int], rng: np.random.Generator, scheme: str
) -> dict[str, Any]:
    """Arrays drawn by the named scheme, layer by layer; the read-out's with those of the last layer."""
    arrays: dict[str, Any] = {}
    layers = of(cell, *sizes)
    for layer in layers:
        wanted = cell.shapes(layer.input_size, sizes[1])
        if layer is layers[-1]:
            wanted = wanted | read_out(cell, *sizes)
        drawn = init.initialise(cell, wanted, cell.units(sizes[1]), rng, scheme)
        arrays |= {name if name in READ_OUT else name + layer.suffix: array for name, array in drawn.items()}
    return arrays


def arrays_of(layer: Layer, params: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """The layer's arrays, by the names that they have in a single cell."""
    return {name: params[name + layer.suffix] for name in names}
