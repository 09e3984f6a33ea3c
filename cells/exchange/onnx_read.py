"""Reads an ONNX model of RNN, LSTM or GRU nodes in a row, and of a linear read-out after them, as a cell.

This needs the Python package onnx.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np

from ..cell import GatedCell
from .files import told_of
from .layouts import Arrays, float64
from .onnx_chain import CUT, Chain, Part, chain, check_outputs, read_out
from .onnx_file import load
from .onnx_node import arrays_of, cell_of
from .onnx_trace import Labels, Linear, Trace, trace

STEPS, BATCH = 5, 3  # at which a model without fixed shapes is traced: odd and different


@dataclass(frozen=True)
class Start:
    """What a model holds of how its sequences begin and end, and no cell has.

    state is the first state by name, as a program takes it: (B, H), of a stack (layers * directions, B, H);
    None for zeros. B is 1 where the model repeats it for every sequence. lengths are (B,); None for whole
    sequences.
    """

    state: Arrays | None = None
    lengths: np.ndarray | None = None

    def of_batch(self, batch: int) -> Arrays | None:
        """The first state for a batch of this size: of B = 1, it is repeated."""
        return self.state and {
            name: np.broadcast_to(value, (*value.shape[:-2], batch, value.shape[-1])).copy()
            for name, value in self.state.items()
        }


@dataclass(frozen=True)
class Reading:
    """A model as a cell.

    steps and batch are what the model fixes, None where it does not. readout is the linear layer with its
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
    sizes = _Sizes(model.graph, path)
    traced = trace(model, path, sizes.shapes(None, STEPS, sizes.batch))
    _check_nodes(traced)
    chained = chain(traced)
    batch = batch or _held_batch(traced) or sizes.batch
    shapes = sizes.shapes((chained, _inputs(traced)), steps or STEPS, batch)
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
        later = chain(
            trace(model, path, sizes.shapes((chained, _inputs(traced)), (steps or STEPS) + 1, batch))
        )
    start = Start(_state(traced, chained, cell, fixed[1]), _lengths(traced, chained, later))
    every = linear if linear is not None and (linear[1] >= 0).all() else None
    return Reading(model, cell, params, start, traced, chained, *fixed, every)


class _Sizes:
    """The shapes of a graph's inputs: fixed ones, and what is put for those that are not."""

    def __init__(self, graph: Any, path: str | Path) -> None:
        held = {tensor.name for tensor in graph.initializer}
        # an input that is held as well may be left out; of a first state it says the batch
        optional = [t for t in graph.initializer if t.name in {given.name for given in graph.input}]
        rows = [tensor.dims[-2] for tensor in optional if len(tensor.dims) in (2, 3)]
        self.batch = next((n for n in rows if n > 1), BATCH)
        self.inputs = {given.name: given.type for given in graph.input if given.name not in held}
        for name, kind in self.inputs.items():
            if not kind.HasField("tensor_type"):
                raise ValueError(f"{path}: the input {name!r} is no array; a cell takes arrays alone")

    def dimensions(self, name: str) -> list[int | str]:
        """Fixed sizes as numbers, others by name ('' for one without); three axes where none are said."""
        kind = self.inputs[name].tensor_type
        return [d.dim_value or d.dim_param for d in kind.shape.dim] if kind.HasField("shape") else [""] * 3

    def shapes(self, known: tuple[Chain, int] | None, steps: int, batch: int) -> dict[str, tuple[int, ...]]:
        """A shape for every input. known: what a first trace found, and the number of inputs of x."""
        by_name: dict[str, int] = {}
        if known is not None:
            chained, inputs = known
            sizes = (steps, batch, inputs) if len(chained.axes) == 3 else (steps, inputs)
            of_x = dict(zip(chained.axes, sizes, strict=True))
            for axis, named in enumerate(self.dimensions(chained.x)):
                if isinstance(named, str) and named:
                    by_name[named] = of_x[axis]
        shapes: dict[str, tuple[int, ...]] = {}
        for name in self.inputs:
            sizes_given = self.dimensions(name)
            guess = {0: steps, 1: batch} if len(sizes_given) == 3 else {0: batch}
            if known is not None:
                guess = of_x if name == chained.x else {max(len(sizes_given) - 2, 0): batch}
            shape: list[int] = []
            for axis, size in enumerate(sizes_given):
                if isinstance(size, str):
                    size = by_name.setdefault(size, guess.get(axis, 1)) if size else guess.get(axis, 1)
                shape.append(size)
            shapes[name] = tuple(shape)
        return shapes

    def fixed(self, chained: Chain) -> tuple[int | None, int | None]:
        """The steps and the batch that the model fixes."""
        given = self.dimensions(chained.x)
        steps, batch = given[chained.axes[0]], given[chained.axes[1]] if len(given) == 3 else 1
        return steps if isinstance(steps, int) else None, batch if isinstance(batch, int) else None


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


def _held_batch(traced: Trace) -> int | None:
    """The batch that a first state or lengths have which the file holds."""
    for layer in traced.layers:
        lengths, state = layer.slots.get("sequence_lens"), layer.slots.get("initial_h")
        if isinstance(lengths, np.ndarray) and lengths.ndim == 1:
            return len(lengths) or None
        if isinstance(state, np.ndarray) and state.ndim == 3:
            return state.shape[1] or None
    return None


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


def _state(traced: Trace, chained: Chain, cell: GatedCell, batch: int | None) -> Arrays | None:
    """The first state that the file holds; None where that is zero, or an input."""
    found = {name: np.stack([_first(traced, part, name) for part in chained.parts]) for name in cell.states}
    if not any(np.any(value) for value in found.values()):
        return None
    if batch is None and all((value == value[:, :1]).all() for value in found.values()):
        found = {name: value[:, :1] for name, value in found.items()}
    return found if cell.stacked else {name: value[0] for name, value in found.items()}


def _first(traced: Trace, part: Part, name: str) -> np.ndarray:
    """One part's first state (B, H): zeros where it is left out, or an input of the model."""
    layer, slot = part.layer, f"initial_{name}"
    directions, batch, hidden = layer.y.shape[1:]
    value = layer.slots.get(slot)
    if value is None:
        return np.zeros((batch, hidden))
    shape = value.ids.shape if isinstance(value, Labels) else getattr(value, "shape", ())
    if shape != (directions, batch, hidden):
        raise ValueError(f"{layer.what}: {slot} is {shape}; it must be {(directions, batch, hidden)}")
    if isinstance(value, Labels):
        _check_given(traced, value, f"{layer.what}: {slot}")
        return np.zeros((batch, hidden))
    return float64(value[part.direction])  # type: ignore[index]


def _check_given(traced: Trace, value: Labels, what: str) -> None:
    """Raises ValueError unless the labels are those of inputs other than x."""
    x = traced.layers[0].slots["X"].ids  # type: ignore[union-attr]
    if value.ids.max() >= sum(ids.size for ids in traced.inputs.values()) or np.isin(value.ids, x).any():
        raise ValueError(
            f"{what} comes from x or another layer (as in an encoder and its decoder); a cell's first state"
            f" is given, held or zero: {CUT}"
        )


def _lengths(traced: Trace, chained: Chain, later: Chain | None) -> np.ndarray | None:
    """The lengths that the file holds; None where there are none, all are the steps, or they are an input."""
    found = [part.layer.slots.get("sequence_lens") for part in chained.parts]
    if len({type(value) for value in found}) > 1 or not _equal(found):
        what = chained.parts[-1].layer.what
        raise ValueError(f"{what} has other sequence_lens than the first layer; a stack has the same in all")
    first, what = found[0], f"{chained.parts[0].layer.what}: sequence_lens"
    if isinstance(first, Labels):
        _check_given(traced, first, what)
    if not isinstance(first, np.ndarray):
        return None
    steps, _, batch, _ = chained.parts[0].layer.y.shape
    if first.shape != (batch,):
        raise ValueError(f"{what} is {first.shape}; it must be one length a sequence, {(batch,)}")
    grown = later.parts[0].layer.slots["sequence_lens"] if later is not None else None
    if isinstance(grown, np.ndarray) and not np.array_equal(grown, first):
        steps, first = steps + 1, grown
        if (first != steps).any():
            raise ValueError(f"{what} depends on the number of steps; it must be constant, an input, or all")
    longest = steps if later is None or (isinstance(grown, np.ndarray) and grown is first) else first.max()
    if (first < 1).any() or (first > longest).any():
        raise ValueError(f"{what} is {first.tolist()}; each must be from 1 to the number of steps, {longest}")
    whole = (first == steps).all() and (later is None or first is grown)
    return None if whole else first.astype(np.int64)


def _equal(values: Iterable[Any]) -> bool:
    """Whether all are the same: nothing, labels or numbers."""
    plain = [value.ids if isinstance(value, Labels) else value for value in values]
    return all((value is None and plain[0] is None) or np.array_equal(value, plain[0]) for value in plain)
