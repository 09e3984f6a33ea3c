"""The ONNX model of a cell at one workload: recurrent nodes that read and write a program's arrays.

The model that `cells.to_onnx` writes takes any batch, and shapes its states with further nodes. Here the
sizes are fixed, so that a cell is a single node, and nothing is copied around it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..cell import GatedCell
from ..derived import layers
from ..exchange import onnx_write
from ..exchange.layouts import ONNX, Arrays, Layout, layout
from ..exchange.optional import package

LARGEST = (1 << 31) - 1  # bytes of a protobuf message
TYPE = 1  # ONNX's number for float32


@dataclass(frozen=True)
class Model:
    """The recurrent nodes of a cell, one a layer, and what shapes their outputs.

    Inputs are x (T, B, I) and the first states S_first_K (directions, B, H) of each layer K; outputs are y,
    whose memory is that of (T, B, O), and S_last_K.
    """

    cell: GatedCell
    sizes: tuple[int, int]
    steps: int
    batch: int
    lengths: np.ndarray | None = None

    @property
    def form(self) -> Layout:
        return layout(layers.single(self.cell), ONNX, "ONNX")

    @property
    def bare(self) -> bool:
        """Whether y is the last node's own output, which has an axis for its one direction."""
        return self.cell.directions == 1 and not self.cell.readout

    @property
    def y_shape(self) -> tuple[int, ...]:
        width = self.cell.output_size(*self.sizes)
        return (self.steps, *((1,) if self.bare else ()), self.batch, width)

    def written(self, params: Arrays) -> bytes:
        """The model with these parameters. Raises ValueError for more than a file of ONNX holds."""
        onnx = package("onnx")
        held = onnx_write.constants(self.cell, self.form, params, self.sizes)
        held = {name: np.ascontiguousarray(value, np.float32) for name, value in held.items()}
        size = sum(value.nbytes for value in held.values())
        if size >= LARGEST:
            raise ValueError(
                f"cell {self.cell.name!r} with hidden_size {self.sizes[1]} has parameters of {size:,} bytes;"
                f" an ONNX model holds at most {LARGEST:,}: take a smaller hidden_size, or another backend"
            )
        held |= {"one": np.ones(1, np.int64), "side_by_side": np.array([0, 0, -1], np.int64)}
        if self.lengths is not None:
            held["lengths"] = self.lengths.astype(np.int32)
            held["within"] = (np.arange(self.steps)[:, None] < self.lengths)[:, :, None]
            held["nothing"] = np.zeros(1, np.float32)
        helper, nodes = onnx.helper, self.nodes(onnx.helper.make_node)
        used = {name for node in nodes for name in node.input}
        graph = helper.make_graph(
            nodes,
            self.cell.name,
            [helper.make_tensor_value_info(*each) for each in self.inputs()],
            [helper.make_tensor_value_info(*each) for each in self.outputs()],
            [onnx.numpy_helper.from_array(value, name) for name, value in held.items() if name in used],
        )
        opset = helper.make_opsetid("", onnx_write.OPSET)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=onnx_write.IR_VERSION)
        return model.SerializeToString()

    def states(self, which: str) -> list[tuple[str, str, int]]:
        """(name in the model, state, layer) of all first, or all last, states."""
        return [(f"{s}_{which}_{k}", s, k) for k in range(self.cell.layers) for s in self.cell.states]

    def inputs(self) -> list[tuple[str, int, tuple[int, ...]]]:
        state = (self.cell.directions, self.batch, self.sizes[1])
        first = [(name, TYPE, state) for name, _, _ in self.states("first")]
        return [("x", TYPE, (self.steps, self.batch, self.sizes[0])), *first]

    def outputs(self) -> list[tuple[str, int, tuple[int, ...]]]:
        state = (self.cell.directions, self.batch, self.sizes[1])
        return [("y", TYPE, self.y_shape), *((name, TYPE, state) for name, _, _ in self.states("last"))]

    def nodes(self, make: Any) -> list[Any]:
        cell, nodes, below = self.cell, [], "x"
        for k in range(cell.layers):
            out = "y" if self.bare and k == cell.layers - 1 else f"Y_{k}"
            nodes.append(self.recurrent(make, k, below, out))
            below = f"output_{k}"
            if cell.directions == 2:
                nodes.append(make("Transpose", [out], [f"turned_{k}"], perm=[0, 2, 1, 3]))
                nodes.append(make("Reshape", [f"turned_{k}", "side_by_side"], [below]))
            elif out != "y":
                nodes.append(make("Squeeze", [out, "one"], [below]))
        return nodes + self.read_out(make, below)

    def recurrent(self, make: Any, k: int, below: str, out: str) -> Any:
        """The node of layer k."""
        cell, form = self.cell, self.form
        w, r, b, p = (onnx_write.numbered(cell, slot, k) for slot in "WRBP")
        inputs = [below, w, r, b if cell.biases else "", "" if self.lengths is None else "lengths"]
        inputs += [f"{s}_first_{k}" for s in cell.states] + ([p] if form.peepholes else [])
        outputs = [out, *(f"{s}_last_{k}" for s in cell.states)]
        return make(form.kind, inputs, outputs, **onnx_write.attributes(cell, form, self.sizes[1]))

    def read_out(self, make: Any, hidden: str) -> list[Any]:
        """From the last layer's output to y, where y is not that output itself; zeros beyond a length."""
        if self.bare:
            return []
        if not self.cell.readout:
            return [make("Identity", [hidden], ["y"])]
        product = make("MatMul", [hidden, "weight_out"], ["product"])
        if self.lengths is None:
            return [product, make("Add", ["product", "bias_out"], ["y"])]
        added = make("Add", ["product", "bias_out"], ["everywhere"])
        return [product, added, make("Where", ["within", "everywhere", "nothing"], ["y"])]
