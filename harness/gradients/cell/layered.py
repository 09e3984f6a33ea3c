"""What each layer of a stack reads, so that what is local to a layer can be told layer by layer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from cellbench.cells import GatedCell
from cellbench.cells.backends.numpy import NumpyBackend
from cellbench.cells.derived import layers
from cellbench.cells.programs.joint import states_by_layer

Arrays = dict[str, Any]


@dataclass(frozen=True)
class Reading:
    """One layer in one direction: a single cell with its arrays, x and first states, as it reads them.

    x is (T, B, I) in the order of the direction's steps: the reverse one reads the last step first.
    """

    suffix: str
    cell: GatedCell
    params: Arrays
    x: np.ndarray
    state: Arrays | None


def readings(cell: GatedCell, params: Arrays, x: np.ndarray, state: Arrays | None) -> Iterator[Reading]:
    """Of all layers and directions in torch's order; of a cell that is no stack itself alone."""
    if not cell.stacked:
        yield Reading("", cell, params, x, state)
        return
    single, sizes = layers.single(cell), cell.sizes(params)
    names, parts = list(single.parameter_shapes(*sizes)), layers.of(cell, *sizes)
    first = None if state is None else states_by_layer(cell, state)
    outputs: list[np.ndarray] = []
    for part in parts:
        if not part.reverse and outputs:
            x, outputs = np.concatenate(outputs, axis=-1), []
        own = layers.arrays_of(part, params, names)
        begin = None if first is None else {s: first[s + part.suffix] for s in cell.states}
        given = x[::-1] if part.reverse else x
        yield Reading(part.suffix, single, own, given, begin)
        if part.depth < cell.layers - 1:
            program = NumpyBackend().program(single, own, *x.shape[:2], "float64", "cpu", "forward")
            program.start(given, begin)
            outputs.append(program.output[::-1] if part.reverse else program.output)
