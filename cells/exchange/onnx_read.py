"""Reads an ONNX model of RNN, LSTM or GRU nodes in a row, and of a linear read-out after them, as a cell.

This needs the Python package onnx.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np

from ..cell import GatedCell
from .files import told_of
from .layouts import Arrays, float64
from .onnx_chain import CUT, Chain, chain, check_outputs, read_out
from .onnx_file import load
from .onnx_node import arrays_of, cell_of
from .onnx_sizes import STEPS, Sizes
from .onnx_start import Start, held_batch, lengths_of, state_of
from .onnx_trace import Linear, Trace, trace


@dataclass(frozen=True)
class Reading:
    """A model as a cell.

    steps and batch are what the model fixes, also by a first state or lengths that it holds; None where it
    does not. readout is the linear layer with its
    labels (T, B, K), where it takes every step.
    """

    model: Any
    cell: GatedCell
    params: Arrays
    start: Start
    traced: Trace
    chain: Chain
    steps: int | None
    batch: int | None
    readout: tuple[Linear, np.ndarray] | None


@overload
def from_onnx(path: str | Path) -> tuple[GatedCell, Arrays]: ...


@overload
def from_onnx(path: str | Path, *, start: Literal[False]) -> tuple[GatedCell, Arrays]: ...


@overload
def from_onnx(path: str | Path, *, start: Literal[True]) -> tuple[GatedCell, Arrays, Start]: ...


def from_onnx(path: str | Path, *, start: bool = False) -> Any:
    """The cell that the file's recurrent nodes compute, and its arrays in float64.

    Nodes in a row are a stack's layers; a linear layer after them is the read-out. What only moves values
    (transposes, slices, flips) is followed, entry by entry. A cell takes x (T, B, I), and its read-out is
    that of every step.

    A first state (initial_h, initial_c) or lengths (sequence_lens) that the file holds are no part of a cell:
    start=True returns (cell, params, Start) with them, and without it such a file is refused. Raises
    ValueError, naming file and node, for a model that computes more, or a node that is no cell of ours or not
    well formed.
    """
    reading = read(path)
    if start:
        return reading.cell, reading.params, reading.start
    held = [
        words
        for value, words in (
            (reading.start.state, "a first state other than zero (initial_h, initial_c)"),
            (reading.start.lengths, "lengths of its own (sequence_lens)"),
        )
        if value is not None
    ]
    if held:
        lengths = ", lengths=start.lengths" if reading.start.lengths is not None else ""
        raise ValueError(
            f"{path} holds {' and '.join(held)}, which are no part of a cell; take them too: cell, params,"
            f" start = cells.from_onnx({str(path)!r}, start=True), then program = backend.prepare(cell,"
            f" params, steps=T, batch=B{lengths}) and program.forward(x, start.of_batch(B))"
        )
    return reading.cell, reading.params


def read(path: str | Path, steps: int | None = None, batch: int | None = None) -> Reading:
    """The model as a cell, traced at these sizes where it fixes none."""
    with told_of(path, "model of recurrent nodes"):
        return _read(path, steps, batch)


def _read(path: str | Path, steps: int | None, batch: int | None) -> Reading:
    model = load(path)
    sizes = Sizes(model.graph, path)
    traced = trace(model, path, sizes.shapes(None, STEPS, sizes.batch))
    _check_nodes(traced)
    chained = chain(traced)
    batch = batch or held_batch(traced) or sizes.batch
    at = (chained, _inputs(traced))
    shapes = sizes.shapes(at, steps or STEPS, batch)
    if shapes != traced.shapes:
        traced = trace(model, path, shapes)
        chained = chain(traced)
    cell, params = _cell(traced, chained)
    fixed = sizes.fixed(chained)
    linear = read_out(traced, chained)
    final = chained.output if linear is None else linear[1]
    check_outputs(traced, [output.name for output in model.graph.output], final)
    if linear is not None:
        cell, params = _with_readout(cell, params, linear[0])
    later = None
    if fixed[0] is None:  # lengths that grow with the steps are all of them
        later = chain(trace(model, path, sizes.shapes(at, (steps or STEPS) + 1, batch)))
    start = Start(state_of(traced, chained, cell, fixed[1]), lengths_of(traced, chained, later))
    every = linear if linear is not None and (linear[1] >= 0).all() else None
    fixed_batch = fixed[1]
    if fixed_batch is None and held_batch(traced) == batch:
        larger = sizes.shapes(at, steps or STEPS, batch + 1)
        fixed_batch = None if _takes(model, path, larger, batch + 1) else batch
    return Reading(model, cell, params, start, traced, chained, fixed[0], fixed_batch, every)


def _takes(model: Any, path: str | Path, shapes: dict[str, tuple[int, ...]], batch: int) -> bool:
    """Whether the first state or lengths grow with the batch, as those that a model repeats do."""
    try:
        return held_batch(trace(model, path, shapes)) == batch
    except ValueError:  # what is held is not repeated for so many
        return False


def _inputs(traced: Trace) -> int:
    """The width of x that the first node's W says."""
    return int(traced.layers[0].slots["W"].shape[-1])  # type: ignore[union-attr]


def _check_nodes(traced: Trace) -> None:
    """Raises ValueError for a graph without a recurrent node, or one that computes more."""
    if not traced.layers:
        more = f"; it computes {', '.join(sorted(traced.others))}" if traced.others else ""
        raise ValueError(
            f"{traced.path} has no node of kind RNN, LSTM or GRU{more}. torch.onnx.export writes such nodes"
            " with dynamo=False; it may unroll the steps otherwise"
        )
    before = {
        linear.name.split()[0]
        for linear in traced.linear
        if linear.taken.flat[0] < sum(ids.size for ids in traced.inputs.values())
    }
    if others := sorted(traced.others | before):
        raise ValueError(
            f"{traced.path} also computes {', '.join(others)}; a cell is recurrent nodes in a row and at most"
            f" one linear layer after them: {CUT}"
        )


def _cell(traced: Trace, chained: Chain) -> tuple[GatedCell, Arrays]:
    """The cell of all parts, and its arrays. Raises ValueError where two layers are of different cells."""
    from ..catalogue import get

    parts = chained.parts
    kinds = []
    for part in parts:
        layer = part.layer
        name, options = cell_of(layer.node.op_type, layer.attributes, "P" in layer.slots, layer.what)
        kinds.append((name, options, layer.y.shape[-1]))
    for part, kind in zip(parts, kinds, strict=True):
        if kind != kinds[0]:
            one, other = (
                f"{name} {''.join(options.values())}".strip() + f" with hidden_size {hidden}"
                for name, options, hidden in (kinds[0], kind)
            )
            raise ValueError(
                f"{part.layer.what} is {other}, and the first layer is {one}; the layers of a stack are the"
                f" same: {CUT}"
            )
    name, options, _ = kinds[0]
    biases = 2 if any("B" in part.layer.slots for part in parts) else 0
    both = len(chained.depths[0]) == 2
    single = get(name, biases=biases, **options)
    if len(parts) == 1:
        return single, arrays_of(single, parts[0].layer.slots, parts[0].direction)
    cell = get(name, biases=biases, layers=len(chained.depths), bidirectional=both, **options)
    params: Arrays = {}
    for depth, of_depth in enumerate(chained.depths):
        for part in of_depth:
            arrays = arrays_of(single, part.layer.slots, part.direction)
            suffix = f"_l{depth}{'_reverse' * part.reverse}"
            params |= {array + suffix: value for array, value in arrays.items()}
    cell.sizes(params)
    return cell, params


def _with_readout(cell: GatedCell, params: Arrays, linear: Linear) -> tuple[GatedCell, Arrays]:
    weight = float64(linear.weight)
    bias = float64(np.broadcast_to(linear.bias, len(weight)))
    return replace(cell, readout=len(weight)), params | {"weight_out": weight, "bias_out": bias}
