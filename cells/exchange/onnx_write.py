"""Writes a cell as an ONNX model of one RNN, LSTM or GRU node (Python package onnx)."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from ..cell import GatedCell
from .layouts import ONNX, Arrays, Layout, float64, layout, rows_there

OPSET = 17
IR_VERSION = 8  # that of opset 17
ACTIVATIONS: dict[str, dict[str, Any]] = {
    "tanh": {"activations": ["Tanh"]},
    "relu": {"activations": ["Relu"]},
    "identity": {"activations": ["Affine"], "activation_alpha": [1.0], "activation_beta": [0.0]},
}


def to_onnx(cell: GatedCell, params: Arrays, path: str | Path, dtype: str = "float32") -> None:
    """Writes the cell as an ONNX model to the file `path`.

    Its input is x (T, B, I), its outputs are y (T, B, O) and the last states by name, each (B, H).

    The first states are inputs h0 (and c0), which may be left out: then they are zero. Weights are rounded to
    dtype, float32 or float64; onnxruntime runs recurrent nodes in float32 alone. A read-out is MatMul and
    Add. Raises ValueError for a cell that ONNX has no node for, and without the package onnx.
    """
    onnx = package("onnx")
    form = layout(cell, ONNX, "ONNX")
    if dtype not in ("float32", "float64"):
        raise ValueError(f"dtype is {dtype!r}; an ONNX model is written in float32 or float64")
    if not Path(path).parent.is_dir():
        raise ValueError(f"no folder {str(Path(path).parent)!r} to write {Path(path).name} in; make it first")
    sizes = cell.sizes(params)
    arrays = {name: float64(a) for name, a in params.items()}
    constants = {name: a.astype(dtype) for name, a in _constants(cell, form, arrays).items()}
    # an initial state that is not given is zero
    constants |= {f"{s}0": np.zeros((1, sizes[1]), dtype) for s in cell.states}
    constants |= {"zero": np.zeros(1, np.int64), "one": np.ones(1, np.int64)}
    graph = _graph(onnx, cell, form, constants, sizes)
    opset = onnx.helper.make_opsetid("", OPSET)
    model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))


def _graph(onnx: Any, cell: GatedCell, form: Layout, constants: Arrays, sizes: tuple[int, int]) -> Any:
    """The node with its inputs, outputs and constants."""
    helper, (inputs, hidden) = onnx.helper, sizes
    kind = helper.np_dtype_to_tensor_dtype(constants["W"].dtype)
    return helper.make_graph(
        _nodes(onnx, cell, form, constants, hidden),
        cell.name,
        [helper.make_tensor_value_info("x", kind, ["T", "B", inputs])]
        + [helper.make_tensor_value_info(f"{s}0", kind, [None, hidden]) for s in cell.states],
        [helper.make_tensor_value_info("y", kind, ["T", "B", cell.output_size(inputs, hidden)])]
        + [helper.make_tensor_value_info(s, kind, ["B", hidden]) for s in cell.states],
        [onnx.numpy_helper.from_array(np.ascontiguousarray(a), name) for name, a in constants.items()],
    )


def package(name: str) -> Any:
    """The optional package. Raises ValueError with the command that installs it."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise ValueError(f"package {name} is not installed; pip install 'cellbench[onnx]'") from None


def _constants(cell: GatedCell, form: Layout, arrays: Arrays) -> Arrays:
    """W, R, B and P of the node, each with an axis for the direction, and the read-out's."""
    there = {
        name: rows_there(arrays[name], cell.gates, form.order)
        for name in arrays
        if name.endswith(("_ih", "_hh"))
    }
    made = {"W": there["weight_ih"], "R": there["weight_hh"]}
    if cell.biases:
        made["B"] = np.concatenate([there["bias_ih"], there.get("bias_hh", np.zeros_like(there["bias_ih"]))])
    if form.peepholes:
        made["P"] = np.concatenate([arrays[name] for name in form.peepholes])
    made = {name: a[None] for name, a in made.items()}
    if cell.readout:
        made |= {"weight_out": arrays["weight_out"].T, "bias_out": arrays["bias_out"]}
    return made


def _nodes(onnx: Any, cell: GatedCell, form: Layout, constants: Arrays, hidden: int) -> list[Any]:
    """The node between what gives its states their axis of directions and what takes that away again."""
    make = onnx.helper.make_node
    attributes: dict[str, Any] = {"hidden_size": hidden}
    if form.kind == "RNN":
        attributes |= ACTIVATIONS[cell.activation]  # type: ignore[attr-defined]
    elif form.kind == "GRU":
        attributes["linear_before_reset"] = int(cell.name == "gru")
    elif cell.name == "cifg":
        attributes["input_forget"] = 1
    nodes = [
        make("Shape", ["x"], ["batch"], start=1, end=2),
        make("Concat", ["batch", "one"], ["rows"], axis=0),
    ]
    for s in cell.states:
        nodes += [
            make("Expand", [f"{s}0", "rows"], [f"{s}_rows"]),
            make("Unsqueeze", [f"{s}_rows", "zero"], [f"{s}_first"]),
        ]
    inputs = ["x", "W", "R", "B" if "B" in constants else "", "", *(f"{s}_first" for s in cell.states)]
    inputs += ["P"] if "P" in constants else []
    nodes.append(make(form.kind, inputs, ["Y", *(f"{s}_last" for s in cell.states)], **attributes))
    nodes.append(make("Squeeze", ["Y", "one"], ["output" if cell.readout else "y"]))
    nodes += [make("Squeeze", [f"{s}_last", "zero"], [s]) for s in cell.states]
    if cell.readout:
        nodes += [
            make("MatMul", ["output", "weight_out"], ["product"]),
            make("Add", ["product", "bias_out"], ["y"]),
        ]
    return nodes
