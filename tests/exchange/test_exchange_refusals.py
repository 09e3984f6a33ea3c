"""What no cell computes is refused in one line: the node or layer, its value, what is allowed, what next."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from support.exchange import redrawn

from cellbench import cells

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4, "SimpleRNN": 1}


def line(call):
    """The one line that a call is refused with."""
    with pytest.raises(ValueError) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text and len(text) < 600
    return text


# ONNX

SHAPE = ["T", "B", 4]


def model(file, nodes, output, held=()):
    """A model of x (T, B, 4) whose recurrent nodes have 4 units."""
    rng = np.random.default_rng(0)
    names = {name for node in nodes for name in node.input if name[:1] in "WRB" and name[1:].isdigit()}
    rows = {
        name[1:]: GATES[node.op_type] * 4
        for node in nodes
        if node.op_type in GATES
        for name in node.input
        if name[:1] == "W"
    }
    shapes = {"W": lambda r: (1, r, 4), "R": lambda r: (1, r, 4), "B": lambda r: (1, 2 * r)}
    arrays = {n: rng.standard_normal(shapes[n[0]](rows[n[1:]])).astype(np.float32) for n in sorted(names)}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", 1, SHAPE)],
        [helper.make_tensor_value_info(output, 1, ["a", "b", "c"])],
        [numpy_helper.from_array(a, n) for n, a in (arrays | dict(held)).items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(made, file)
    return file


def layer(k, below, kind="GRU", inputs=(), **known):
    """A recurrent node and what takes its axis of directions away."""
    known = {"hidden_size": 4, "name": f"rnn{k}"} | known
    slots = [below, f"W{k}", f"R{k}", *inputs]
    return [
        helper.make_node(kind, slots, [f"Y{k}"], **known),
        helper.make_node("Squeeze", [f"Y{k}", "axis"], [f"y{k}"]),
    ]


AXIS = ("axis", np.array([1]))
OPERATIONS = {
    "Relu": lambda a, b: [helper.make_node("Relu", [a], [b])],
    "Softmax": lambda a, b: [helper.make_node("Softmax", [a], [b])],
    "Clip": lambda a, b: [helper.make_node("Clip", [a, "low", "high"], [b])],
    "Mul": lambda a, b: [helper.make_node("Mul", [a, "scale"], [b])],
    "Add": lambda a, b: [helper.make_node("Add", [a, a], [b])],
    "LayerNormalization": lambda a, b: [helper.make_node("LayerNormalization", [a, "vector"], [b])],
    "ReduceMax": lambda a, b: [helper.make_node("ReduceMax", [a], [b], axes=[0])],
    "Pad": lambda a, b: [helper.make_node("Pad", [a, "pads"], [b])],
    "MatMul": lambda a, b: [helper.make_node("MatMul", [a, a], [b])],
    "If": lambda a, b: [helper.make_node("If", ["yes"], [b], then_branch=branch(a), else_branch=branch(a))],
    "RandomNormalLike": lambda a, b: [helper.make_node("RandomNormalLike", [a], [b])],
}  # fmt: skip
HELD = [
    AXIS,
    ("low", np.float32(-1)),
    ("high", np.float32(1)),
    ("scale", np.float32(2)),
    ("vector", np.ones(4, np.float32)),
    ("pads", np.array([1, 0, 0, 0, 0, 0])),
    ("yes", np.array(True)),
]


def branch(name):
    """A branch of an If that gives the value on."""
    output = helper.make_tensor_value_info("given", 1, ["a", "b", "c"])
    return helper.make_graph([helper.make_node("Identity", [name], ["given"])], "branch", [], [output])


@pytest.mark.parametrize("place", ["before", "between", "after"])
@pytest.mark.parametrize("kind", OPERATIONS)
def test_an_operation_beside_recurrent_nodes_is_refused_by_name(kind, place, tmp_path):
    make = OPERATIONS[kind]
    nodes = {
        "before": [*make("x", "a"), *layer(0, "a")],
        "between": [*layer(0, "x"), *make("y0", "a"), *layer(1, "a")],
        "after": [*layer(0, "x"), *make("y0", "a"), helper.make_node("Identity", ["a"], ["y1"])],
    }[place]
    file = model(tmp_path / "m.onnx", nodes, {"before": "y0"}.get(place, "y1"), HELD)
    text = line(lambda: cells.from_onnx(file, start=True))
    assert "m.onnx" in text
    assert kind in text or "'rnn" in text


STATE = np.full((1, 2, 4), 0.5, np.float32)
NODES = {  # by what a node has: its inputs after R, its attributes, and the words of its refusal
    "initial_h": (["", "", "h0"], {}, ("first state", "initial_h", "start=True")),
    "sequence_lens": (["", "lengths"], {}, ("lengths", "sequence_lens", "start=True")),
    "clip": ([], {"clip": 0.5}, ("GRU 'rnn0'", "clip 0.5", "without clip")),
    "clip 0": ([], {"clip": 0.0}, ("GRU 'rnn0'", "clip 0", "without clip")),
    "layout": ([], {"layout": 2}, ("GRU 'rnn0'", "layout 2", "0 or 1")),
    "direction": ([], {"direction": "back"}, ("GRU 'rnn0'", "'back'", "forward, reverse, bidirectional")),
    "reverse": ([], {"direction": "reverse"}, ("GRU 'rnn0'", "'reverse' alone", "set direction")),
    "activation": ([], {"activations": ["Sin", "Tanh"]}, ("GRU 'rnn0'", "sin, tanh", "Sigmoid, Tanh")),
    "too few": ([], {"activations": ["Sigmoid"]}, ("GRU 'rnn0'", "1 activations", "must have 2")),
    "hidden_size": ([], {"hidden_size": 5}, ("GRU 'rnn0'", "hidden_size 5", "(1, 15, 4)")),
    "wide": (["", "", "wide"], {}, ("GRU 'rnn0'", "initial_h is (1, 2, 3)", "(1, 2, 4)")),
    "long": (["", "long"], {}, ("sequence_lens is [0, 99]", "from 1 to")),
}  # fmt: skip


@pytest.mark.parametrize("case", NODES)
def test_what_a_node_has_beyond_a_cell_is_named(case, tmp_path):
    inputs, known, words = NODES[case]
    held = [
        AXIS,
        ("h0", STATE),
        ("wide", STATE[..., :3]),
        ("lengths", np.array([3, 2], np.int32)),
        ("long", np.array([0, 99], np.int32)),
    ]
    file = model(tmp_path / "m.onnx", layer(0, "x", inputs=inputs, **known), "y0", held)
    text = line(lambda: cells.from_onnx(file))
    for word in ("m.onnx", *words):
        assert word in text, text


def test_a_coupled_gate_beside_peepholes_is_refused(tmp_path):
    peepholes = ("P", np.ones((1, 12), np.float32))
    nodes = layer(0, "x", "LSTM", ["", "", "", "", "P"], input_forget=1)
    text = line(lambda: cells.from_onnx(model(tmp_path / "m.onnx", nodes, "y0", [AXIS, peepholes])))
    assert "m.onnx: LSTM 'rnn0' has peepholes and input_forget" in text


def test_a_clip_that_clips_nothing_is_no_clip(tmp_path):
    largest = float(np.finfo(np.float32).max)
    nodes = layer(0, "x", clip=largest)
    assert cells.from_onnx(model(tmp_path / "m.onnx", nodes, "y0", [AXIS]))[0].name == "gru_reset_before"


def test_layers_of_other_kinds_in_a_row_are_refused(tmp_path):
    nodes = [*layer(0, "x"), *layer(1, "y0", "LSTM")]
    text = line(lambda: cells.from_onnx(model(tmp_path / "m.onnx", nodes, "y1", [AXIS])))
    assert "LSTM 'rnn1' is lstm with hidden_size 4" in text and "gru_reset_before" in text


# Keras, without the library: a layer or a model is what has get_config and get_weights


class Layer:
    def __init__(self, kind, name="it", arrays=(), layers=None, module="keras.layers", **config):
        self.name, self.arrays, self.config = name, list(arrays), {"name": name} | config
        self.__class__ = type(kind, (Layer,), {"__module__": module})
        if layers is not None:
            self.layers = layers
            described = [{"class_name": type(one).__name__, "config": one.config} for one in layers]
            self.config = {"name": name, "layers": described}

    def get_config(self):
        return self.config

    def get_weights(self):
        return self.arrays


def arrays_of(kind, inputs=3, units=4):
    rows = GATES[kind] * units
    return redrawn([np.zeros(s) for s in ((inputs, rows), (units, rows), (rows,))])


def recurrent(kind="LSTM", name="it", **config):
    return Layer(kind, name, arrays_of(kind), **config)


def sequential(*layers):
    return Layer("Sequential", "model", layers=list(layers))


LOW_RANK = [np.ones(shape) for shape in ((4, 2), (2,), (4, 1), (1, 2))]  # of lora_rank=1
INNER = {"class_name": "LSTM", "config": {"name": "inner", "go_backwards": False}}
KERAS = {
    "CuDNNLSTM": (
        lambda: sequential(Layer("CuDNNLSTM", "fast", arrays_of("LSTM"))),
        ("fast", "CuDNNLSTM", "keras.layers.LSTM"),
    ),
    "CuDNNGRU": (
        lambda: Layer("CuDNNGRU", "fast", arrays_of("GRU")),
        ("fast", "CuDNNGRU", "keras.layers.GRU"),
    ),
    "ConvLSTM2D": (lambda: sequential(Layer("ConvLSTM2D", "conv")), ("conv", "ConvLSTM2D", "convol")),
    "recurrent_activation": (
        lambda: recurrent(recurrent_activation="hard_sigmoid"),
        ("it has activation 'tanh'", "'hard_sigmoid'", "'sigmoid'"),
    ),
    "unknown": (lambda: recurrent(activation="my_function"), ("it", "'my_function'", "'tanh'")),
    "object": (
        lambda: recurrent(activation={"class_name": "Custom>Snake", "config": {}}),
        ("it", "snake", "'tanh'"),
    ),
    "TimeDistributed": (
        lambda: sequential(Layer("TimeDistributed", "each", layer=INNER)),
        ("each", "TimeDistributed", "no recurrent layer"),
    ),
    "Masking": (lambda: sequential(Layer("Masking", "mask"), recurrent()), ("mask", "layer='it'")),
    "Embedding": (
        lambda: sequential(Layer("Embedding", "words", mask_zero=True), recurrent()),
        ("words", "layer='it'"),
    ),
    "go_backwards": (lambda: recurrent(go_backwards=True), ("it", "go_backwards=True", "x[::-1]")),
    "merge_mode": (
        lambda: Layer("Bidirectional", "both", layer=INNER, merge_mode="ave"),
        ("both", "merge_mode='ave'", "'concat'"),
    ),
    "missing array": (
        lambda: Layer("LSTM", "it", arrays_of("LSTM")[:1]),
        ("it has the arrays (3, 16)", "kernel, recurrent_kernel, bias"),
    ),
    "whole numbers": (
        lambda: Layer("LSTM", "it", [a.astype(np.int8) for a in arrays_of("LSTM")]),
        ("it: kernel is of dtype int8", "floating"),
    ),
    "low rank": (
        lambda: sequential(recurrent(), Layer("Dense", "out", LOW_RANK)),
        ("out has the arrays (4, 2), (2,), (4, 1), (1, 2)", "kernel, bias"),
    ),
    "a class of its own": (
        lambda: recurrent(module="my_project.layers"),
        ("it is a class of its own called LSTM (my_project.layers)", "get_weights()"),
    ),
    "wrong shape": (
        lambda: Layer("GRU", "it", arrays_of("LSTM")),
        ("it: kernel is (3, 16)", "GRU", "(3, 12)"),
    ),
    "cells": (
        lambda: Layer("RNN", "it", arrays_of("LSTM"), cell={"class_name": "PeepholeLSTMCell", "config": {}}),
        ("it is a PeepholeLSTM", "SimpleRNN, LSTM, GRU"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", KERAS)
def test_what_a_layer_of_keras_has_beyond_a_cell_is_named(case):
    make, words = KERAS[case]
    text = line(lambda: cells.from_keras(make()))
    for word in words:
        assert word in text, text


def test_things_that_are_not_of_keras_are_named():
    assert "it was given a float" in line(lambda: cells.from_keras(2.5))
    text = line(lambda: cells.from_keras("lstm", [np.zeros((3, 16)), "no array", np.zeros(16)]))
    assert "array 1" in text
