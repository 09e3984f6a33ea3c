"""Writes any cell as an ONNX model: its step, recorded on arrays, is the body of one Scan (package onnx).

ONNX has nodes for a few cells alone (`onnx_write`). Here the cell's own text is run once on arrays that
remember how they were made, so that a cell of a user's, a projection and a step that is written out come too.
"""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from ..cell import GatedCell
from ..contract import State
from ..vocabulary.tape import Value, recorded
from .layouts import Arrays, float64
from .onnx_write import IR_VERSION, OPSET
from .optional import package

LARGEST = (1 << 31) - 1  # bytes of a protobuf message
BATCH = 1009  # sequences of the recorded step: an axis of this length is the batch, whatever batch comes
NODES = {"+": "Add", "-": "Sub", "*": "Mul", "/": "Div", "@": "MatMul", "neg": "Neg", "maximum": "Max"}
NODES |= {"minimum": "Min", "absolute": "Abs", "exp": "Exp", "log": "Log", "sqrt": "Sqrt", "sin": "Sin"}
NODES |= {"cos": "Cos", "sigmoid": "Sigmoid", "tanh": "Tanh", "relu": "Relu"}


def to_onnx_scan(cell: GatedCell, params: Arrays, path: str | Path, dtype: str = "float32") -> None:
    """Writes the cell's recorded step as an ONNX model to the file `path`, for any number of steps and rows.

    Its inputs are x (T, B, I) and the first states, NAME0 in the shapes of `cell.state_shapes`; its outputs
    are y (T, B, O) and the last states, NAME_last. Weights are rounded to dtype, float32 or float64. Raises
    ValueError for a stack of layers, for a cell of a library, for what ONNX has no node for, and without the
    package onnx.
    """
    onnx = package("onnx")
    if cell.library or cell.stacked:
        what = f"a {cell.library} module, without equations" if cell.library else "a stack of layers"
        instead = "" if cell.library else "; write each layer: layers=1, bidirectional=False"
        raise ValueError(
            f"cell {cell.name!r} is {what}, which has no single step to write as a Scan{instead}"
        )
    if dtype not in ("float32", "float64"):
        raise ValueError(f"dtype is {dtype!r}; an ONNX model is written in float32 or float64")
    if not Path(path).parent.is_dir():
        raise ValueError(f"no folder {str(Path(path).parent)!r} to write {Path(path).name} in; make it first")
    arrays = {name: float64(value) for name, value in params.items()}
    size = sum(array.size for array in arrays.values()) * np.dtype(dtype).itemsize
    if size >= LARGEST:
        raise ValueError(
            f"cell {cell.name!r} has parameters of {size:,} bytes; an ONNX file holds less than {LARGEST:,}:"
            " take a smaller hidden_size"
        )
    model = _model(onnx, cell, arrays, dtype)
    Path(path).write_bytes(model.SerializeToString())


def _model(onnx: Any, cell: GatedCell, params: Arrays, dtype: str) -> Any:
    """The model: the states and x go through a Scan, and a read-out follows."""
    helper, sizes = onnx.helper, cell.sizes(params)
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    body, width = _body(onnx, cell, params, sizes, dtype)
    states = {name: ["B", *shape[1:]] for name, shape in cell.state_shapes(BATCH, sizes[1]).items()}
    value = helper.make_tensor_value_info
    firsts = [value(f"{name}0", kind, shape) for name, shape in states.items()]
    out = "outputs" if cell.readout else "y"
    nodes = [
        helper.make_node(
            "Scan",
            [*(first.name for first in firsts), "x"],
            [*(f"{name}_last" for name in states), out],
            num_scan_inputs=1,
            body=body,
        )
    ]
    held = []
    if cell.readout:
        width = cell.readout
        weights = {"weight_out": params["weight_out"].T, "bias_out": params["bias_out"]}
        held = [_tensor(onnx, array, name, dtype) for name, array in weights.items()]
        nodes.append(helper.make_node("MatMul", [out, "weight_out"], ["product"]))
        nodes.append(helper.make_node("Add", ["product", "bias_out"], ["y"]))
    inputs = [value("x", kind, ["T", "B", sizes[0]]), *firsts]
    outputs = [value("y", kind, ["T", "B", width])]
    outputs += [value(f"{name}_last", kind, shape) for name, shape in states.items()]
    graph = helper.make_graph(nodes, cell.name, inputs, outputs, held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    return model


def _body(onnx: Any, cell: GatedCell, params: Arrays, sizes: tuple[int, int], dtype: str) -> tuple[Any, int]:
    """The graph of one step, and the width of its output."""
    helper = onnx.helper
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    x = Value(np.ones((BATCH, sizes[0])))
    before = {name: Value(np.ones(shape)) for name, shape in cell.state_shapes(BATCH, sizes[1]).items()}
    try:
        with np.errstate(all="ignore"):  # the numbers do not count
            output, state = cell.step(cell.effective(params), x, State(**before))
    except (TypeError, AttributeError) as error:
        raise ValueError(f"the step of cell {cell.name!r} cannot be recorded on arrays: {error}") from None
    # a dot keeps them apart from the names of states, whatever these are
    names = {x: "in.x"} | {value: f"in.{name}" for name, value in before.items()}
    results = {f"out.{name}": getattr(state, name) for name in before} | {"out": output}
    step = _Step(onnx, cell.name, dtype, names)
    for value in reversed(recorded([one for one in results.values() if isinstance(one, Value)])):
        step.add(value)
    for name, value in results.items():  # a state may be the output too, or what it was before
        step.node("Identity", [step.name(value)], name)
    value = helper.make_tensor_value_info
    shape = {name: ["B", *one.shape[1:]] for name, one in before.items()}
    inputs = [value(f"in.{name}", kind, shape[name]) for name in before]
    inputs.append(value("in.x", kind, ["B", sizes[0]]))
    outputs = [value(f"out.{name}", kind, shape[name]) for name in before]
    width = output.shape[-1]
    outputs.append(value("out", kind, ["B", width]))
    return helper.make_graph(step.nodes, "step", inputs, outputs, step.held), width


class _Step:
    """Nodes of recorded values, and the constants that they take."""

    def __init__(self, onnx: Any, cell: str, dtype: str, names: dict[Value, str]) -> None:
        self.onnx, self.cell, self.dtype, self.names = onnx, cell, dtype, names
        self.nodes: list[Any] = []
        self.held: list[Any] = []

    def node(self, op: str, inputs: list[str], out: str = "", **attributes: Any) -> str:
        """Adds a node; returns the name of its output."""
        out = out or f"v{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(op, inputs, [out], **attributes))
        return out

    def name(self, value: Any) -> str:
        """The name of a value, or of a number or an array, which becomes a constant."""
        if isinstance(value, Value):
            return self.names[value]
        array = np.asarray(value, np.float64)
        if BATCH in array.shape:
            self.refuse("makes an array for each row of the batch instead of one that broadcasts")
        return self.constant(array, self.dtype)

    def constant(self, array: Any, dtype: str = "int64") -> str:
        name = f"c{len(self.held)}"
        self.held.append(_tensor(self.onnx, np.asarray(array), name, dtype))
        return name

    def add(self, value: Value) -> None:
        """The nodes of a value whose arguments are there."""
        if value in self.names:
            return
        inputs = [self.name(arg) for arg in value.args]
        if value.op in NODES:
            self.names[value] = self.node(NODES[value.op], inputs)
            return
        op = value.how[0] if value.op == "view" and value.how else value.op
        make: Callable[..., str] | None = getattr(self, f"_{op}", None)
        if make is None:
            self.refuse(f"uses {op}, for which a step has no node")
        self.names[value] = make(value, inputs)

    def refuse(self, why: str) -> NoReturn:
        raise ValueError(f"cell {self.cell!r} {why}, so it cannot be written as a Scan of ONNX")

    def _softplus(self, value: Value, inputs: list[str]) -> str:
        """max(a, 0) + log(1 + exp(-|a|)): onnxruntime's own is of float32 alone, and loses digits."""
        (a,), one = inputs, self.constant(1.0, self.dtype)
        small = self.node("Exp", [self.node("Neg", [self.node("Abs", [a])])])
        return self.node("Add", [self.node("Relu", [a]), self._log1p(small, one)])

    def _log1p(self, small: str, one: str) -> str:
        """log(1 + e) as e log(w) / (w - 1) with w = 1 + e, and e where w is 1: exact to rounding (Kahan)."""
        w = self.node("Add", [small, one])
        over = self.node("Sub", [w, one])
        none = self.node("Equal", [over, self.constant(0.0, self.dtype)])
        ratio = self.node("Div", [self.node("Log", [w]), self.node("Where", [none, one, over])])
        return self.node("Where", [none, small, self.node("Mul", [small, ratio])])

    def _logsigmoid(self, value: Value, inputs: list[str]) -> str:
        return self.node("Neg", [self._softplus(value, [self.node("Neg", inputs)])])

    def _positive(self, value: Value, inputs: list[str]) -> str:
        zero, one = (self.constant(n, self.dtype) for n in (0.0, 1.0))
        return self.node("Where", [self.node("Greater", [*inputs, zero]), one, zero])

    def _select(self, value: Value, inputs: list[str]) -> str:
        c, a, b = inputs
        return self.node("Where", [self.node("Greater", [c, self.constant(0.0, self.dtype)]), a, b])

    def _sum(self, value: Value, inputs: list[str]) -> str:
        axis, kept = value.how
        axes = axis if isinstance(axis, tuple) else (axis,)
        return self.node("ReduceSum", [*inputs, self.constant(axes)], keepdims=int(kept))

    def _reshape(self, value: Value, inputs: list[str]) -> str:
        """The batch, where it stays the first axis, is as long as it was; a batch times heads is the rest."""
        given = value.args[0].shape
        shape = [-1 if n % BATCH == 0 else n for n in value.shape]
        if shape[:1] == [-1] and given[:1] == value.shape[:1]:
            shape[0] = 0
        if shape.count(-1) > 1:
            self.refuse("reshapes its batch into two axes")
        return self.node("Reshape", [*inputs, self.constant(shape)])

    def _swapaxes(self, value: Value, inputs: list[str]) -> str:
        _, first, second = value.how
        order = list(range(len(value.shape)))
        order[first], order[second] = order[second], order[first]
        return self.node("Transpose", inputs, perm=order)

    def _concatenate(self, value: Value, inputs: list[str]) -> str:
        return self.node("Concat", inputs, axis=value.how[1])

    def _index(self, value: Value, inputs: list[str]) -> str:
        """Whole numbers take an entry of their axis, slices a part of it."""
        key, given = value.how[1], value.args[0].shape
        key = key if isinstance(key, tuple) else (key,)
        if rest := [at for at, one in enumerate(key) if one is Ellipsis]:
            missing = len(given) - len(key) + 1
            key = (*key[: rest[0]], *[slice(None)] * missing, *key[rest[0] + 1 :])
        out = inputs[0]
        for axis in reversed(range(len(key))):
            if isinstance(one := key[axis], slice):
                first, last, step = one.indices(given[axis])
                if step != 1:
                    self.refuse(f"takes entries in steps of {step}")
                if (first, last) != (0, given[axis]):
                    out = self.node("Slice", [out, *(self.constant([n]) for n in (first, last, axis))])
            elif isinstance(one, Integral):
                out = self.node("Gather", [out, self.constant(int(one))], axis=axis)
            else:
                self.refuse(f"indexes by {type(one).__name__}, where whole numbers and slices are known")
        return out


def _tensor(onnx: Any, array: np.ndarray, name: str, dtype: str) -> Any:
    return onnx.numpy_helper.from_array(np.ascontiguousarray(array).astype(dtype).reshape(array.shape), name)
