"""Reads an ONNX model of one RNN, LSTM or GRU node, and of a linear read-out after it, as a cell.

This needs the Python package onnx.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..cell import GatedCell
from ..contract import real_floating
from .layouts import ONNX, Arrays, float64, rows_here
from .onnx_write import package

SLOTS = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
DEFAULTS = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}
# what only moves values to and from the node, or makes its first states
MOVES = {
    "Cast",
    "Concat",
    "Constant",
    "ConstantOfShape",
    "Expand",
    "Gather",
    "Identity",
    "Reshape",
    "Shape",
    "Slice",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
}


def from_onnx(path: str | Path) -> tuple[GatedCell, Arrays]:
    """The cell that the file's one recurrent node computes, and its arrays in float64.

    A linear layer after the node is the read-out. Operations that only move values to and from the node
    (transposes, slices) are not carried over: a cell takes x (T, B, I), and its read-out is that of every
    step. Raises ValueError, naming file and node, for a model that computes more, or a node that is no cell
    of ours or not well formed.
    """
    from ..catalogue import get

    graph = _load(path).graph
    node, constants = _recurrent(graph, path), _constants(graph)
    what = f"{path}: {node.op_type} {node.name!r}" if node.name else f"{path}: {node.op_type}"
    attributes = _attributes(node)
    slots = dict(zip(SLOTS, node.input, strict=False))
    arrays = {slot: _weight(constants, what, slot, slots[slot]) for slot in "WRBP" if slots.get(slot)}
    name, options = _cell(node.op_type, attributes, "P" in arrays, what)
    linear = _readout(graph, node, constants, path)
    cell = get(name, biases=2 if "B" in arrays else 0, readout=len(linear.get("bias_out", ())), **options)
    return cell, _params(cell, arrays, attributes.get("hidden_size", 0), what) | linear


@dataclass(frozen=True)
class Inputs:
    """The names of a model's x and initial states, their dtype, and steps and batch if it fixes them."""

    x: str
    states: tuple[str, ...]
    dtype: str
    steps: int | None
    batch: int | None


def inputs_of(path: str | Path) -> Inputs:
    """The inputs of a model. Raises ValueError for inputs other than x and initial states."""
    graph = _load(path).graph
    held = {tensor.name for tensor in graph.initializer}
    types = {given.name: given.type.tensor_type for given in graph.input if given.name not in held}
    states = tuple(name for name in _recurrent(graph, path).input[5:7] if name in types)
    others = [name for name in types if name not in states]
    if len(others) != 1:
        raise ValueError(
            f"{path} has the inputs {', '.join(types)}; it must have x, and the initial states at most"
        )
    x = types[others[0]]
    fixed = [dimension.dim_value or None for dimension in x.shape.dim]
    steps, batch = fixed[:2] if len(fixed) == 3 else (None, None)
    return Inputs(others[0], states, "float32" if x.elem_type == 1 else "float64", steps, batch)


def _load(path: str | Path) -> Any:
    onnx = package("onnx")
    if not Path(path).is_file():
        raise ValueError(f"no file {str(path)!r}; give the path of an ONNX model")
    try:
        model = onnx.load(str(path))
        onnx.checker.check_model(model)
    except (package("google.protobuf.message").DecodeError, onnx.checker.ValidationError) as error:
        raise ValueError(f"{path} is no ONNX model: {' '.join(str(error).split())}") from None
    return model


def _recurrent(graph: Any, path: str | Path) -> Any:
    nodes = [node for node in graph.node if node.op_type in DEFAULTS]
    if len(nodes) != 1:
        raise ValueError(
            f"{path} has {len(nodes)} nodes of kind RNN, LSTM or GRU; it must have one, of one layer"
        )
    return nodes[0]


def _constants(graph: Any) -> Arrays:
    """Every array that the file holds, by the name that nodes know it by."""
    to_array = package("onnx.numpy_helper").to_array
    held = {tensor.name: to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            held[node.output[0]] = to_array(node.attribute[0].t)
        elif node.op_type == "Identity" and node.input[0] in held:
            held[node.output[0]] = held[node.input[0]]
    return held


def _attributes(node: Any) -> dict[str, Any]:
    """The node's attributes, bytes as text."""
    value = package("onnx.helper").get_attribute_value
    values = {a.name: value(a) for a in node.attribute}
    text = {name: v.decode() for name, v in values.items() if isinstance(v, bytes)}
    lists = {name: [s.decode() for s in v] for name, v in values.items() if name == "activations"}
    return values | text | lists


def _weight(constants: Arrays, what: str, slot: str, name: str) -> np.ndarray:
    if name not in constants:
        raise ValueError(
            f"{what}: {slot} is {name!r}, which is computed or an input; weights must be held in the file"
        )
    return float64(real_floating(f"{what}: {slot}", constants[name]))


def _cell(kind: str, attributes: dict[str, Any], peepholes: bool, what: str) -> tuple[str, dict[str, Any]]:
    """Name and options of the cell that a node of this kind and these attributes computes."""
    direction, coupled = attributes.get("direction", "forward"), attributes.get("input_forget", 0)
    if direction != "forward":
        raise ValueError(f"{what} has direction {direction!r}; a cell is read from one direction, 'forward'")
    if attributes.get("clip"):
        raise ValueError(f"{what} has clip {attributes['clip']}; no cell clips its pre-activations")
    if peepholes and coupled:
        raise ValueError(f"{what} has peepholes and input_forget; no cell has both")
    given = [a.lower() for a in attributes.get("activations", DEFAULTS[kind])]
    if kind == "RNN":
        line = (attributes.get("activation_alpha"), attributes.get("activation_beta"))
        activation = "identity" if given == ["affine"] and line == ([1.0], [0.0]) else given[0]
        if activation not in ("tanh", "relu", "identity"):
            raise ValueError(
                f"{what} has the activation {given[0]}; elman has Tanh, Relu, or Affine with alpha 1 and"
                " beta 0"
            )
        return "elman", {"activation": activation}
    if given != [a.lower() for a in DEFAULTS[kind]]:
        raise ValueError(
            f"{what} has the activations {', '.join(given)}; the cells have {', '.join(DEFAULTS[kind])}"
        )
    if kind == "GRU":
        return "gru" if attributes.get("linear_before_reset", 0) else "gru_reset_before", {}
    return "peephole_lstm" if peepholes else "cifg" if coupled else "lstm", {}


def _params(cell: GatedCell, arrays: Arrays, hidden: int, what: str) -> Arrays:
    """The cell's arrays from W, R, B and P. Raises ValueError for shapes that the node cannot have."""
    form = ONNX[cell.name]
    gates, hidden, inputs = len(form.order), hidden or arrays["R"].shape[-1], arrays["W"].shape[-1]
    shapes = {
        "W": (gates * hidden, inputs),
        "R": (gates * hidden, hidden),
        "B": (2 * gates * hidden,),
        "P": (3 * hidden,),
    }
    for slot, array in arrays.items():
        if array.shape != (1, *shapes[slot]):
            raise ValueError(
                f"{what}: {slot} is {array.shape}; with hidden_size {hidden} it must be {(1, *shapes[slot])}"
            )
    there = {"weight_ih": arrays["W"][0], "weight_hh": arrays["R"][0]}
    if "B" in arrays:
        there |= dict(zip(("bias_ih", "bias_hh"), np.split(arrays["B"][0], 2), strict=True))
    params = {name: rows_here(rows, cell.gates, form.order) for name, rows in there.items()}
    return params | (
        dict(zip(form.peepholes, np.split(arrays["P"][0], 3), strict=True)) if form.peepholes else {}
    )


def _readout(graph: Any, recurrent: Any, constants: Arrays, path: str | Path) -> Arrays:
    """weight_out and bias_out of a linear layer on the node's output; nothing where there is none.

    Raises ValueError for any other computation in the model.
    """
    moved = _moved(graph, recurrent.output[:2])
    layers = [
        n
        for n in graph.node
        if n.op_type in ("MatMul", "Gemm") and n.input[0] in moved and n.input[1] in constants
    ]
    linear = layers[0] if len(layers) == 1 else None
    adding = [
        n
        for n in graph.node
        if linear and n.op_type == "Add" and {*n.input} - {*constants} == {linear.output[0]}
    ]
    known = [recurrent, *layers[:1], *adding[:1]]
    others = sorted({node.op_type for node in graph.node if node.op_type not in MOVES and node not in known})
    if others:
        raise ValueError(
            f"{path} also computes {', '.join(others)}; a cell is one recurrent node and at most one linear"
            " layer"
        )
    if linear is None:
        return {}
    weight, bias = _linear(linear, constants, path)
    for node in adding[:1]:
        bias = bias + sum(constants[name] for name in node.input if name in constants)
    return {"weight_out": float64(weight), "bias_out": float64(np.broadcast_to(bias, len(weight)))}


def _linear(node: Any, constants: Arrays, path: str | Path) -> tuple[np.ndarray, Any]:
    """Weight (K, H) and bias of a MatMul or Gemm."""
    weight = constants[node.input[1]]
    if node.op_type == "MatMul":
        return weight.T, 0.0
    given = _attributes(node)
    if given.get("transA"):
        raise ValueError(f"{path}: Gemm {node.name!r} transposes its input; a read-out does not")
    weight = given.get("alpha", 1.0) * (weight if given.get("transB") else weight.T)
    return weight, given.get("beta", 1.0) * constants[node.input[2]] if len(node.input) > 2 else 0.0


def _moved(graph: Any, values: Iterable[str]) -> set[str]:
    """The values and all that only moves them. Nodes lie in the order in which they are computed."""
    names = {*values} - {""}
    for node in graph.node:
        if node.op_type in MOVES and node.input and node.input[0] in names:
            names.update(node.output)
    return names
