"""Writes a cell as an ONNX model of RNN, LSTM or GRU nodes, one a layer (Python package onnx)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..cell import GatedCell
from ..contract import real_floating
from ..derived import layers
from .layouts import ONNX, Arrays, Layout, float64, layout, rows_there
from .onnx_start import Start
from .optional import package

OPSET = 17
IR_VERSION = 8  # that of opset 17
ACTIVATIONS: dict[str, dict[str, Any]] = {
    "tanh": {"activations": ["Tanh"]},
    "relu": {"activations": ["Relu"]},
    "identity": {"activations": ["Affine"], "activation_alpha": [1.0], "activation_beta": [0.0]},
}


def to_onnx(
    cell: GatedCell,
    params: Arrays,
    path: str | Path,
    dtype: str = "float32",
    *,
    start: Start | None = None,
) -> None:
    """Writes the cell as an ONNX model to the file `path`.

    Its input is x (T, B, I), its outputs are y (T, B, O) and the last states by name, each (B, H); of a stack
    they are (layers * directions, B, H). A layer is one node, of both directions where the cell has both.

    The first states are inputs h0 (and c0), which may be left out: then they are those of `start`, else zero.
    Lengths of `start` are held in the model. Weights are rounded to dtype, float32 or float64; onnxruntime
    runs recurrent nodes in float32 alone. A read-out is MatMul and Add. Raises ValueError for a cell that
    ONNX has no node for, and without the package onnx.
    """
    onnx = package("onnx")
    form = layout(layers.single(cell), ONNX, "ONNX")
    if dtype not in ("float32", "float64"):
        raise ValueError(f"dtype is {dtype!r}; an ONNX model is written in float32 or float64")
    if not Path(path).parent.is_dir():
        raise ValueError(f"no folder {str(Path(path).parent)!r} to write {Path(path).name} in; make it first")
    graph = _Graph(onnx, cell, form, cell.sizes(params), dtype)
    held = {
        name: float64(value).astype(dtype)
        for name, value in constants(cell, form, params, graph.sizes).items()
    }
    held |= {name: value.astype(dtype) for name, value in _first_states(graph, start).items()}
    held |= {"zero": np.zeros(1, np.int64), "one": np.ones(1, np.int64)}
    if start is not None and start.lengths is not None:
        held["lengths"] = np.asarray(start.lengths, np.int32)
    if cell.stacked:
        held["side_by_side"] = np.array([0, 0, -1], np.int64)
    opset = onnx.helper.make_opsetid("", OPSET)
    model = onnx.helper.make_model(graph.proto(held), opset_imports=[opset], ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))


def constants(cell: GatedCell, form: Layout, params: Arrays, sizes: tuple[int, int]) -> Arrays:
    """W, R, B and P of each layer's node, with an axis for the direction, and the read-out's."""
    of_cell = layers.of(cell, *sizes)
    single = layers.single(cell)
    names = list(single.parameter_shapes(*sizes))
    made: Arrays = {}
    for depth in range(cell.layers):
        of_depth = [layers.arrays_of(layer, params, names) for layer in of_cell if layer.depth == depth]
        slots = [_slots(single, form, {n: float64(a) for n, a in arrays.items()}) for arrays in of_depth]
        made |= {numbered(cell, slot, depth): np.stack([each[slot] for each in slots]) for slot in slots[0]}
    if cell.readout:
        made |= {"weight_out": float64(params["weight_out"]).T, "bias_out": params["bias_out"]}
    return made


def _slots(cell: GatedCell, form: Layout, arrays: Arrays) -> Arrays:
    """W, R, B and P of one layer in one direction."""
    there = {
        n: rows_there(a, cell.gates, form.order) for n, a in arrays.items() if n.endswith(("_ih", "_hh"))
    }
    made = {"W": there["weight_ih"], "R": there["weight_hh"]}
    if cell.biases:
        made["B"] = np.concatenate([there["bias_ih"], there.get("bias_hh", np.zeros_like(there["bias_ih"]))])
    if form.peepholes:
        made["P"] = np.concatenate([arrays[name] for name in form.peepholes])
    return made


def numbered(cell: GatedCell, name: str, depth: int) -> str:
    """The name of a layer's value in the graph: W, or W_l1 of a stack."""
    return f"{name}_l{depth}" if cell.stacked else name


def attributes(cell: GatedCell, form: Layout, hidden: int) -> dict[str, Any]:
    """What a node of this cell says of itself."""
    made: dict[str, Any] = {"hidden_size": hidden}
    if cell.bidirectional:
        made["direction"] = "bidirectional"
    if form.kind == "RNN":
        of_one = ACTIVATIONS[cell.activation]  # type: ignore[attr-defined]
        made |= {name: value * cell.directions for name, value in of_one.items()}
    elif form.kind == "GRU":
        made["linear_before_reset"] = int(cell.name == "gru")
    elif cell.name == "cifg":
        made["input_forget"] = 1
    return made


def _first_states(graph: _Graph, start: Start | None) -> Arrays:
    """What the inputs h0 and c0 are where they are not given.

    Raises ValueError for states of other names or shapes.
    """
    cell, hidden = graph.cell, graph.sizes[1]
    lead = cell.layers * cell.directions
    given = (start.state if start is not None else None) or {}
    if given and set(given) != set(cell.states):
        raise ValueError(
            f"start.state has {', '.join(given)}; cell {cell.name!r} has the states {', '.join(cell.states)}"
        )
    first = {}
    for name in cell.states:
        value = float64(real_floating(f"start.state {name}", given.get(name, np.zeros((lead, 1, hidden)))))
        held = value if value.ndim == 3 or cell.stacked else value[None]
        if held.ndim != 3 or (held.shape[0], held.shape[2]) != (lead, hidden):
            must = f"({lead}, B, {hidden})" if cell.stacked else f"(B, {hidden})"
            raise ValueError(f"start.state {name} is {value.shape}; it must be {must}")
        first[f"{name}0"] = held if cell.stacked else held[0]
    return first


@dataclass
class _Graph:
    """The nodes of a cell between what gives its states their rows and what puts the last states together."""

    onnx: Any
    cell: GatedCell
    form: Layout
    sizes: tuple[int, int]
    dtype: str

    def proto(self, constants: Arrays) -> Any:
        """The graph with its inputs, outputs and constants."""
        helper, (inputs, hidden) = self.onnx.helper, self.sizes
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(self.dtype))
        lead = [self.cell.layers * self.cell.directions] if self.cell.stacked else []
        output = self.cell.output_size(inputs, hidden)
        value = helper.make_tensor_value_info
        return helper.make_graph(
            self.nodes(constants),
            self.cell.name,
            [value("x", kind, ["T", "B", inputs])]
            + [value(f"{s}0", kind, [*lead, None, hidden]) for s in self.cell.states],
            [value("y", kind, ["T", "B", output])]
            + [value(s, kind, [*lead, "B", hidden]) for s in self.cell.states],
            [self.onnx.numpy_helper.from_array(np.ascontiguousarray(a), n) for n, a in constants.items()],
        )

    def nodes(self, constants: Arrays) -> list[Any]:
        make, cell = self.onnx.helper.make_node, self.cell
        nodes = self.first()
        below = "x"
        for depth in range(cell.layers):
            nodes += self.layer(depth, below, constants)
            below = numbered(cell, "output", depth)
        nodes += self.last()
        if cell.readout:
            nodes.append(make("MatMul", [below, "weight_out"], ["product"]))
            nodes.append(make("Add", ["product", "bias_out"], ["y"]))
        else:
            nodes.append(make("Identity", [below], ["y"]))
        return nodes

    def first(self) -> list[Any]:
        """The first state of every layer, (D, B, H), a row a sequence."""
        make, cell = self.onnx.helper.make_node, self.cell
        nodes = [make("Shape", ["x"], ["batch"], start=1, end=2)]
        lead = ["one"] if cell.stacked else []
        nodes.append(make("Concat", [*lead, "batch", "one"], ["rows"], axis=0))
        for s in cell.states:
            nodes.append(make("Expand", [f"{s}0", "rows"], [f"{s}_rows"]))
            firsts = [numbered(cell, f"{s}_first", depth) for depth in range(cell.layers)]
            if not cell.stacked:
                nodes.append(make("Unsqueeze", [f"{s}_rows", "zero"], firsts))
            elif cell.layers > 1:
                nodes.append(make("Split", [f"{s}_rows"], firsts, axis=0))
            else:
                nodes.append(make("Identity", [f"{s}_rows"], firsts))
        return nodes

    def layer(self, depth: int, below: str, constants: Arrays) -> list[Any]:
        """A layer's node, and its output with both directions side by side."""
        make, cell = self.onnx.helper.make_node, self.cell

        def name(of: str) -> str:
            return numbered(cell, of, depth)

        lengths = "lengths" if "lengths" in constants else ""
        inputs = [below, name("W"), name("R"), name("B") if cell.biases else "", lengths]
        inputs += [name(f"{s}_first") for s in cell.states] + ([name("P")] if self.form.peepholes else [])
        outputs = [name("Y"), *(name(f"{s}_last") for s in cell.states)]
        nodes = [make(self.form.kind, inputs, outputs, **attributes(self.cell, self.form, self.sizes[1]))]
        if not cell.stacked:
            return [*nodes, make("Squeeze", [name("Y"), "one"], [name("output")])]
        nodes.append(make("Transpose", [name("Y")], [name("Y_by_step")], perm=[0, 2, 1, 3]))
        return [*nodes, make("Reshape", [name("Y_by_step"), "side_by_side"], [name("output")])]

    def last(self) -> list[Any]:
        """The last states under the cell's names."""
        make, cell = self.onnx.helper.make_node, self.cell
        if not cell.stacked:
            return [make("Squeeze", [f"{s}_last", "zero"], [s]) for s in cell.states]
        lasts = {s: [numbered(cell, f"{s}_last", depth) for depth in range(cell.layers)] for s in cell.states}
        return [make("Concat", names, [s], axis=0) for s, names in lasts.items()]
