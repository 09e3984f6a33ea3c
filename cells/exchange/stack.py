"""A model of other software, layer by layer, and the cell of all its layers and directions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..cell import GatedCell
from ..derived import layers
from .layouts import Arrays


class Departure(ValueError):
    """A layer computes something that no cell does, though its arrays are a cell's."""


@dataclass(frozen=True)
class Part:
    """One layer in one direction, as other software has it: its place in the model, its kind, its arrays.

    options is what a configuration says beyond the arrays, such as activations.
    """

    place: str
    kind: str
    arrays: Arrays
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Model:
    """Layers from the input up, each forward and, where it has both directions, backward.

    dense is the kernel (O, K) and the bias (K,) of a read-out.
    """

    layers: tuple[tuple[Part, ...], ...]
    dense: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def parts(self) -> list[Part]:
        """Every layer in every direction, forward first."""
        return [part for layer in self.layers for part in layer]


def joined(model: Model, read: Callable[[Part], tuple[GatedCell, Arrays]]) -> tuple[GatedCell, Arrays]:
    """The cell of all layers, and its arrays. `read` gives the cell of one layer in one direction.

    Raises ValueError, naming both layers, where they are not one cell of one size.
    """
    read_parts = [read(part) for part in model.parts]
    cell = replace(read_parts[0][0], biases=max(c.biases for c, _ in read_parts))
    hidden = read_parts[0][1]["weight_hh"].shape[1]
    directions = len(model.layers[0])
    inputs = read_parts[0][1]["weight_ih"].shape[1]
    names = [part.place for part in model.parts]
    arrays: Arrays = {}
    stack = replace(cell, layers=len(model.layers), bidirectional=directions == 2)
    for at, (other, params), place in zip(layers.of(stack, inputs, hidden), read_parts, names, strict=False):
        if replace(other, biases=cell.biases) != cell:
            raise ValueError(
                f"{place} is {spec(other)} and {names[0]} is {spec(cell)}; the layers of a stack are one"
                " cell; read them one by one"
            )
        sizes = params["weight_ih"].shape[1], params["weight_hh"].shape[1]
        if sizes != (at.input_size, hidden):
            raise ValueError(
                f"{place} has {sizes[0]} inputs and {sizes[1]} units; after {names[0]} with {hidden} units"
                f" a stack needs {at.input_size} and {hidden}; read them one by one"
            )
        zeros = {
            name: np.zeros(shape)
            for name, shape in cell.shapes(*sizes).items()
            if name.startswith("bias") and name not in params
        }
        arrays |= {name + at.suffix: value for name, value in (params | zeros).items()}
    if any(len(layer) != directions for layer in model.layers):
        raise ValueError(f"{', '.join(names)}: some layers have two directions and some one; read them apart")
    if model.dense is not None:
        kernel, bias = model.dense
        stack = replace(stack, readout=kernel.shape[1])
        arrays |= {"weight_out": kernel.T.copy(), "bias_out": bias}
    ordered = {name: arrays[name] for name in stack.parameter_shapes(inputs, hidden) if name in arrays}
    stack.check_parameters(ordered, inputs, hidden)
    return stack, ordered


def apart(cell: GatedCell, params: Arrays) -> list[tuple[GatedCell, Arrays]]:
    """Each layer in each direction as a cell of its own, from the input up and forward first."""
    sizes = cell.sizes(params)
    one = layers.single(cell)
    return [
        (one, {name: params[name + at.suffix] for name in one.shapes(at.input_size, sizes[1])})
        for at in layers.of(cell, *sizes)
    ]


def spec(cell: GatedCell) -> str:
    """The cell as it is asked for: name, options."""
    return ":".join(text for text in (cell.name, cell.options) if text)
