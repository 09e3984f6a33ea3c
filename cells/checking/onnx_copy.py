"""A copy of an ONNX model that can be checked: in float32, with every node's first state as an input.

It has no layout 1, which onnxruntime does not run, and no lengths that the model holds.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..exchange.onnx_file import array
from ..exchange.onnx_read import Reading
from ..exchange.onnx_trace import SLOTS, Recurrent
from ..exchange.optional import package

BY_STEP, BY_SEQUENCE = [1, 0, 2], [2, 0, 1, 3]  # X and states between the layouts; Y to layout 1


def runnable(reading: Reading) -> Any:
    """The copy. Node k of the graph takes first_h_k (and first_c_k) and gives all_k, last_h_k (and last_c_k).

    A read-out of every step is an output too.
    """
    onnx = package("onnx")
    model = onnx.ModelProto()
    model.CopyFrom(reading.model)
    graph, layers = model.graph, iter(enumerate(reading.traced.layers))
    nodes, kinds = list(graph.node), {layer.node.op_type for layer in reading.traced.layers}
    del graph.node[:], graph.output[:], graph.value_info[:]
    for node in nodes:
        if node.op_type in kinds:
            graph.node.extend(_replaced(onnx, graph, *next(layers)))
        else:
            graph.node.append(node)
    if reading.readout is not None:
        graph.output.append(_float(onnx, reading.readout[0].output, None))
    _to_float32(onnx, graph)
    return model


def _replaced(onnx: Any, graph: Any, k: int, layer: Recurrent) -> list[Any]:
    """The recurrent node with layout 0, between what gives it its inputs and gives its outputs on."""
    make, names = onnx.helper.make_node, list(layer.last)
    batch_first = layer.attributes.get("layout", 0) == 1
    node = onnx.NodeProto()
    node.CopyFrom(layer.node)
    slots = dict(zip(SLOTS, layer.node.input, strict=False))
    if isinstance(layer.slots.get("sequence_lens"), np.ndarray):
        slots["sequence_lens"] = ""
    slots |= {f"initial_{name}": f"first_{name}_{k}" for name in names}
    before = []
    if batch_first:
        before = [make("Transpose", [slots["X"]], [f"x_by_step_{k}"], perm=BY_STEP)]
        slots["X"] = f"x_by_step_{k}"
    del node.input[:], node.output[:]
    filled = [slots.get(slot, "") for slot in SLOTS]
    node.input.extend(filled[: 8 if slots.get("P") else 7 if "c" in names else 6])
    made = [f"all_{k}", *(f"last_{name}_{k}" for name in names)]
    node.output.extend(made)
    kept = [attribute for attribute in node.attribute if attribute.name != "layout"]
    del node.attribute[:]
    node.attribute.extend(kept)
    after = []
    for name, output in zip(made, layer.node.output, strict=False):
        if output and batch_first:
            perm = BY_SEQUENCE if name == made[0] else BY_STEP
            after.append(make("Transpose", [name], [output], perm=perm))
        elif output:
            after.append(make("Identity", [name], [output]))
    _, directions, _, hidden = layer.y.shape
    graph.input.extend(_float(onnx, f"first_{name}_{k}", [directions, None, hidden]) for name in names)
    graph.output.extend(_float(onnx, name, None) for name in made)
    return [*before, node, *after]


def _float(onnx: Any, name: str, shape: list[int | None] | None) -> Any:
    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)


def _to_float32(onnx: Any, graph: Any) -> None:
    """What is float16, bfloat16 or float64 in the graph becomes float32."""
    floating = {onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16, onnx.TensorProto.DOUBLE}

    def convert(tensor: Any) -> None:
        if tensor.data_type in floating:
            value = array(tensor, tensor.name).astype(np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(value, tensor.name))

    for tensor in graph.initializer:
        convert(tensor)
    for given in graph.input:
        if given.type.tensor_type.elem_type in floating:
            given.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                convert(attribute.t)
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i in floating:
                attribute.i = onnx.TensorProto.FLOAT
