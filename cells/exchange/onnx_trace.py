"""What an ONNX graph moves where: each number of an input gets a label, and the graph is run on labels.

Transpose, Reshape, Slice and the like move labels as they move numbers, so that what reaches a recurrent
node is known entry by entry, whatever chain of operations an exporter wrote. What depends on no input
(weights, shapes, zeros made for a first state) is computed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from .files import one_line
from .onnx_file import array, attributes, held, label
from .onnx_node import GATES, checked
from .optional import package

SLOTS = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
# what moves values and computes none
MOVES = {
    "Cast",
    "CastLike",
    "Concat",
    "Dropout",
    "Expand",
    "Flatten",
    "Gather",
    "GatherElements",
    "GatherND",
    "Identity",
    "Reshape",
    "ReverseSequence",
    "Slice",
    "Split",
    "Squeeze",
    "Tile",
    "Transpose",
    "Unsqueeze",
}
UNTOUCHED = {"Cast", "CastLike", "Dropout", "Identity"}  # each entry stays where it is
RANDOM = {"Bernoulli", "Multinomial", "RandomNormal", "RandomUniform"}  # differ from run to run
SUBGRAPHS = {"If", "Loop", "Scan"}
GROWING = {"ConstantOfShape": 0, "Expand": 1}  # the input that says how large the result is
LARGEST = 2**26  # entries of an array that is traced; 0.5 GB of labels


@dataclass(frozen=True)
class Labels:
    """An array of labels, of which no two numbers of inputs and of results of layers have the same."""

    ids: np.ndarray


@dataclass(frozen=True)
class Unknown:
    """What is computed from inputs by something other than a layer."""


Value = np.ndarray | Labels | Unknown


@dataclass(eq=False)
class Recurrent:
    """A recurrent node: what goes into its slots, and the labels of its outputs, time first.

    y is (T, D, B, H); h and c are the last states, (D, B, H). x, state and y are as with layout 0.
    """

    node: Any
    what: str
    attributes: dict[str, Any]
    slots: dict[str, Value]
    y: np.ndarray
    last: dict[str, np.ndarray]


@dataclass(eq=False)
class Linear:
    """A linear layer on labels: its weight (K, H) and bias, what it takes and what it returns."""

    name: str
    weight: np.ndarray
    bias: np.ndarray
    taken: np.ndarray
    ids: np.ndarray
    output: str


@dataclass
class Trace:
    """A graph run on labels, at the sizes of `shapes` (of each input by name)."""

    path: str
    shapes: dict[str, tuple[int, ...]]
    inputs: dict[str, np.ndarray] = field(default_factory=dict)
    values: dict[str, Value] = field(default_factory=dict)
    layers: list[Recurrent] = field(default_factory=list)
    linear: list[Linear] = field(default_factory=list)
    others: set[str] = field(default_factory=set)
    count: int = 0

    def fresh(self, what: str, shape: tuple[int, ...]) -> np.ndarray:
        """New labels. Raises ValueError for an array that is too large to be traced."""
        size = prod(shape)
        if size + self.count > LARGEST:
            raise ValueError(
                f"{self.path}: {what} is {shape}, too large to be read; export the model with a short"
                " sequence, or with axes that are not fixed"
            )
        self.count += size
        return np.arange(self.count - size, self.count).reshape(shape)


def trace(model: Any, path: str | Path, shapes: dict[str, tuple[int, ...]]) -> Trace:
    """The model's graph run on labels. Raises ValueError, naming file and node, where that is impossible."""
    traced = Trace(str(path), shapes)
    opsets = {given.domain: given.version for given in model.opset_import}
    traced.values |= held(model.graph, path)
    for name, shape in shapes.items():
        ids = traced.fresh(name, shape)
        traced.inputs[name], traced.values[name] = ids, Labels(ids)
    for node in model.graph.node:
        _node(traced, node, opsets)
    return traced


def _node(traced: Trace, node: Any, opsets: dict[str, int]) -> None:
    """Runs one node."""
    what = f"{traced.path}: {label(node)}"
    try:
        given = [traced.values.get(name, Unknown()) if name else None for name in node.input]
        if node.op_type in GATES and node.domain in ("", "ai.onnx"):
            return _recurrent(traced, node, what, given)
        results = _results(traced, node, what, given, opsets)
    except ValueError:
        raise
    except Exception as error:  # onnx's own, for operations and arguments of all kinds
        raise ValueError(f"{what} cannot be computed: {one_line(error)}") from None
    for k, name in enumerate(node.output):
        if name:
            traced.values[name] = results[k] if k < len(results) else Unknown()
    return None


def _results(
    traced: Trace, node: Any, what: str, given: list[Value | None], opsets: dict[str, int]
) -> list[Value]:
    """What a node that is not recurrent gives."""
    kind = node.op_type
    if kind == "Constant":
        return [_constant(node, what)]
    if kind in RANDOM | SUBGRAPHS or any(isinstance(value, Unknown) for value in given):
        if kind not in MOVES | {"Shape", "Size"}:
            traced.others.add(kind)
        return []
    labelled = [isinstance(value, Labels) for value in given]
    if any(labelled):
        first = given[0].ids if isinstance(given[0], Labels) else None
        if kind in UNTOUCHED and first is not None and not attributes(node).get("training_mode"):
            return [Labels(first)]
        if kind in ("Shape", "Size") and first is not None:
            return list(_computed(node, what, [first], opsets))
        moved = all(labelled) if kind == "Concat" else labelled == [True] + [False] * (len(given) - 1)
        if kind not in MOVES or not moved:
            return _linear(traced, node, given)
    arrays: list[Any] = [value.ids if isinstance(value, Labels) else value for value in given]
    results = _computed(node, what, arrays, opsets)
    return [Labels(value) for value in results] if any(labelled) else list(results)


def _constant(node: Any, what: str) -> np.ndarray:
    """The value of a Constant. Raises ValueError where it holds none."""
    values = attributes(node)
    if len(values) != 1 or next(iter(values)).startswith("sparse"):
        raise ValueError(f"{what} has {', '.join(values) or 'no attribute'}; a constant must have one value")
    ((name, value),) = values.items()
    if name == "value":
        return array(value, what)
    return np.array(value, {"value_int": np.int64, "value_ints": np.int64}.get(name))


def _computed(
    node: Any, what: str, given: list[np.ndarray | None], opsets: dict[str, int]
) -> list[np.ndarray]:
    """The node's results by onnx's reference."""
    if node.op_type in GROWING and len(given) > GROWING[node.op_type]:
        wanted: Any = given[GROWING[node.op_type]]
        size = prod(wanted.reshape(-1).tolist())
        if not 0 <= size <= LARGEST:
            raise ValueError(f"{what} makes an array of {size} numbers; the file is damaged, or too large")
    helper, names = package("onnx.helper"), [f"in{k}" for k in range(len(given))]
    copy = package("onnx").NodeProto()
    copy.CopyFrom(node)
    del copy.input[:]
    copy.input.extend(name if value is not None else "" for name, value in zip(names, given, strict=True))
    kinds = [name for name in copy.output if name]
    graph = helper.make_graph(
        [copy],
        "node",
        [helper.make_value_info(name, helper.make_tensor_type_proto(0, None)) for name in copy.input if name],
        [helper.make_value_info(name, helper.make_tensor_type_proto(0, None)) for name in kinds],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    )
    feed = {name: value for name, value in zip(names, given, strict=True) if value is not None}
    try:
        with np.errstate(all="ignore"):
            results = package("onnx.reference").ReferenceEvaluator(model).run(None, feed)
    except Exception as error:  # onnx's own, for operations and arguments of all kinds
        raise ValueError(f"{what} cannot be computed: {one_line(error)}") from None
    by_name = dict(zip(kinds, results, strict=True))
    return [np.asarray(by_name.get(name)) for name in node.output]


def _recurrent(traced: Trace, node: Any, what: str, given: list[Value | None]) -> None:
    """Takes a recurrent node down, and gives its outputs labels."""
    slots = {slot: v for slot, v in zip(SLOTS, given, strict=False) if v is not None}
    known = attributes(node)
    directions, hidden = checked(node.op_type, known, slots, what)
    batch_first = known.get("layout", 0) == 1
    if batch_first:
        axes = {"X": (1, 0, 2), "initial_h": (1, 0, 2), "initial_c": (1, 0, 2)}
        slots |= {slot: _transposed(slots[slot], axes[slot]) for slot in axes if slot in slots}
    x = slots["X"]
    steps, batch = x.ids.shape[:2] if isinstance(x, Labels) and x.ids.ndim == 3 else (1, 1)
    y = traced.fresh(what, (steps, directions, batch, hidden))
    reverse = known.get("direction", "forward") == "reverse"
    ends = [0 if d or reverse else steps - 1 for d in range(directions)]
    # the last state is an output of the last step, unless sequences end before
    last = {"h": np.stack([y[end, d] for d, end in enumerate(ends)])}
    if node.op_type == "LSTM":
        last["c"] = traced.fresh(what, last["h"].shape)
    traced.layers.append(Recurrent(node, what, known, slots, y, last))
    outputs = [y.transpose(2, 0, 1, 3) if batch_first else y]
    outputs += [end.swapaxes(0, 1) if batch_first else end for end in last.values()]
    for name, ids in zip(node.output, outputs, strict=False):
        if name:
            traced.values[name] = Labels(ids)


def _transposed(value: Value, axes: tuple[int, ...]) -> Value:
    if isinstance(value, Labels):
        return Labels(value.ids.transpose(axes)) if value.ids.ndim == len(axes) else value
    return value.transpose(axes) if isinstance(value, np.ndarray) and value.ndim == len(axes) else value


def _linear(traced: Trace, node: Any, given: list[Value | None]) -> list[Value]:
    """A linear layer on labels, or a bias added to one; what else is computed is taken down by its name."""
    arrays = [value for value in given if isinstance(value, np.ndarray)]
    labels = [value.ids for value in given if isinstance(value, Labels)]
    if len(labels) == 1 and node.op_type == "Add":
        of = next((layer for layer in traced.linear if layer.ids is labels[0]), None)
        if of is not None and prod(arrays[0].shape) in (1, len(of.weight)) and not np.any(of.bias):
            of.bias, of.output = arrays[0].reshape(-1), node.output[0]
            return [Labels(of.ids)]
    first = isinstance(given[0], Labels) and len(labels) == 1
    if first and node.op_type in ("MatMul", "Gemm") and arrays[0].ndim == 2:
        known = attributes(node)
        if not known.get("transA"):
            turned = node.op_type == "MatMul" or not known.get("transB", 0)
            weight = known.get("alpha", 1.0) * (arrays[0].T if turned else arrays[0])
            bias = known.get("beta", 1.0) * arrays[1].reshape(-1) if len(arrays) > 1 else np.zeros(1)
            taken = labels[0]
            if taken.shape[-1] == weight.shape[1] and len(bias) in (1, len(weight)):
                ids = traced.fresh(label(node), (*taken.shape[:-1], len(weight)))
                traced.linear.append(Linear(label(node), weight, bias, taken, ids, node.output[0]))
                return [Labels(ids)]
    traced.others.add(node.op_type)
    return []
