"""ONNX stacks, first states, lengths and axes, held against onnxruntime and torch."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper, numpy_helper
from support.exchange import output as outputs

from cellbench import cells

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


def run(file, names, x):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    return onnxruntime.InferenceSession(str(file), options).run(names, {"x": x})[0]


def close(have, want):
    np.testing.assert_allclose(have, want, rtol=0, atol=5e-6)


def drawn_stack(seed, file, layout=0):
    """A model of a stack drawn from the seed, written to the file; x for it, and its output's name.

    With layout 1 the nodes are batch first, between transposes, so that the model computes the same.
    """
    rng = np.random.default_rng(seed)
    kind = ("RNN", "GRU", "LSTM")[rng.integers(3)]
    layers, directions, hidden, inputs = (int(rng.integers(1, n)) for n in (4, 3, 6, 5))
    steps, batch = int(rng.integers(2, 8)), int(rng.integers(1, 4))
    held, nodes = [numpy_helper.from_array(np.array([0, 0, -1]), "side_by_side")], []

    def hold(name, *shape):
        value = (0.5 * rng.standard_normal(shape)).astype(np.float32)
        held.append(numpy_helper.from_array(value, name))
        return name

    known = {"layout": layout} if layout else {}
    known |= {"hidden_size": hidden, "direction": "bidirectional" if directions == 2 else "forward"}
    if kind == "RNN":
        known["activations"] = [("Tanh", "Relu")[rng.integers(2)]] * directions
    if kind == "GRU":
        known["linear_before_reset"] = int(rng.integers(2))
    peepholes, biases, first, ragged, fixed = rng.random(5) < (0.3, 0.7, 0.5, 0.4, 0.5)
    if ragged:
        lengths = rng.integers(1, steps + 1, batch).astype(np.int32)
        held.append(numpy_helper.from_array(lengths, "lengths"))
    below, width, rows = "x", inputs, GATES[kind] * hidden
    if layout:
        below = "x_by_sequence"
        nodes.append(helper.make_node("Transpose", ["x"], [below], perm=[1, 0, 2]))
    for k in range(layers):
        slots = [below, hold(f"W{k}", directions, rows, width), hold(f"R{k}", directions, rows, hidden)]
        slots.append(hold(f"B{k}", directions, 2 * rows) if biases else "")
        slots.append("lengths" if ragged else "")
        for s in "hc" if kind == "LSTM" else "h":
            slots.append(hold(f"{s}{k}", directions, batch, hidden) if first else "")
            if first and layout:
                turned = numpy_helper.to_array(held.pop()).swapaxes(0, 1)
                held.append(numpy_helper.from_array(turned.copy(), f"{s}{k}"))
        if kind == "LSTM" and peepholes:
            slots.append(hold(f"P{k}", directions, 3 * hidden))
        nodes.append(helper.make_node(kind, slots, [f"Y{k}"], **known))
        if not layout:
            nodes.append(helper.make_node("Transpose", [f"Y{k}"], [f"turned{k}"], perm=[0, 2, 1, 3]))
        both = f"Y{k}" if layout else f"turned{k}"
        nodes.append(helper.make_node("Reshape", [both, "side_by_side"], [f"output{k}"]))
        below, width = f"output{k}", directions * hidden
    if layout:
        nodes.append(helper.make_node("Transpose", [below], ["output"], perm=[1, 0, 2]))
        below = "output"
    shape = [steps, batch] if fixed else ["T", "B"]
    graph = helper.make_graph(
        nodes,
        "stack",
        [helper.make_tensor_value_info("x", 1, [*shape, inputs])],
        [helper.make_tensor_value_info(below, 1, [*shape, width])],
        held,
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), file)
    return rng.standard_normal((steps, batch, inputs)).astype(np.float32), below


@pytest.mark.parametrize("seed", range(40))
def test_a_stack_that_onnxruntime_runs_is_read_and_written_as_the_same(seed, tmp_path):
    x, output = drawn_stack(seed, tmp_path / "stack.onnx")
    want = run(tmp_path / "stack.onnx", [output], x)
    cell, params, start = cells.from_onnx(tmp_path / "stack.onnx", start=True)
    close(outputs(cell, params, x, start.of_batch(x.shape[1]), start.lengths), want)
    cells.to_onnx(cell, params, tmp_path / "again.onnx", start=start)
    close(run(tmp_path / "again.onnx", ["y"], x), want)
    again, back, _ = cells.from_onnx(tmp_path / "again.onnx", start=True)
    assert again == cell or again.biases == 2 * cell.biases
    assert all(np.array_equal(back[name], value) for name, value in params.items())


@pytest.mark.parametrize("seed", range(25))
def test_a_stack_of_layout_1_is_read_and_checked_as_the_same_of_layout_0(seed, tmp_path):
    """onnxruntime runs no layout 1; the same numbers by time are what it must compute."""
    x, output = drawn_stack(seed, tmp_path / "by_time.onnx")
    drawn_stack(seed, tmp_path / "by_sequence.onnx", layout=1)
    want = run(tmp_path / "by_time.onnx", [output], x)
    cell, params, start = cells.from_onnx(tmp_path / "by_sequence.onnx", start=True)
    close(outputs(cell, params, x, start.of_batch(x.shape[1]), start.lengths), want)
    name = ":".join(text for text in (cell.name, cell.options) if text)
    result = cells.check(tmp_path / "by_sequence.onnx", against=name)
    assert result.ok, result.diagnosis
    aside = [note for note in result.notes if "file's own" in note]
    assert len(aside) == (start.state is not None) + (start.lengths is not None)


class Begun(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.h0 = torch.nn.GRU(3, 4), torch.nn.Parameter(torch.randn(1, 1, 4))

    def forward(self, x):
        return self.rnn(x, self.h0)[0]


class Outputs(torch.nn.Module):
    def __init__(self, kind, **options):
        super().__init__()
        self.rnn = getattr(torch.nn, kind)(3, 4, **options)

    def forward(self, x):
        return self.rnn(x)[0]


def exported(module, x, file, **options):
    with pytest.warns(Warning):
        torch.onnx.export(module.eval(), (x,), str(file), input_names=["x"], dynamo=False, **options)
    return file


def test_a_first_state_that_a_file_holds_is_refused_by_name_or_kept(tmp_path):
    module, x = Begun(), torch.randn(6, 1, 3)
    file = exported(module, x, tmp_path / "m.onnx")
    with pytest.raises(ValueError, match=r"m\.onnx holds a first state.*initial_h.*start=True"):
        cells.from_onnx(file)
    cell, params, start = cells.from_onnx(file, start=True)
    close(outputs(cell, params, x.numpy(), start.of_batch(1)), module(x).detach().numpy())


def test_lengths_that_a_file_holds_are_refused_by_name(tmp_path):
    seed = next(s for s in range(40) if np.random.default_rng(s) and _ragged(s, tmp_path))
    drawn_stack(seed, tmp_path / "ragged.onnx")
    with pytest.raises(ValueError, match=r"ragged\.onnx holds .*sequence_lens.*lengths=start\.lengths"):
        cells.from_onnx(tmp_path / "ragged.onnx")


def _ragged(seed, folder):
    drawn_stack(seed, folder / "try.onnx")
    return cells.from_onnx(folder / "try.onnx", start=True)[2].lengths is not None


@pytest.mark.parametrize("fixed", [True, False], ids=["fixed", "free"])
@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_a_torch_stack_batch_first_is_read(kind, fixed, tmp_path):
    module, x = Outputs(kind, num_layers=2, bidirectional=True, batch_first=True), torch.randn(4, 6, 3)
    axes = {} if fixed else {"dynamic_axes": {"x": {0: "batch", 1: "time"}}}
    cell, params = cells.from_onnx(exported(module, x, tmp_path / "m.onnx", **axes))
    assert (cell.layers, cell.bidirectional) == (2, True)
    close(outputs(cell, params, x.numpy().swapaxes(0, 1)).swapaxes(0, 1), module(x).detach().numpy())


def test_a_file_of_fixed_shapes_and_batch_first_is_checked_as_right(tmp_path):
    file = exported(torch.nn.GRU(2, 4, batch_first=True), torch.randn(3, 5, 2), tmp_path / "b.onnx")
    result = cells.check(file, against="gru")
    assert result.ok, result.diagnosis
    assert not cells.check(file, against="gru_reset_before").ok


def node_file(tmp_path, kind="GRU", hidden=4, **known):
    """One node with layout 1 and the like, as a file."""
    rng = np.random.default_rng(0)
    rows = GATES[kind] * hidden
    held = [
        numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name)
        for name, shape in (("W", (1, rows, 3)), ("R", (1, rows, hidden)))
    ]
    graph = helper.make_graph(
        [helper.make_node(kind, ["x", "W", "R"], ["Y"], name="rnn", hidden_size=hidden, **known)],
        "one",
        [helper.make_tensor_value_info("x", 1, ["N", "T", 3])],
        [helper.make_tensor_value_info("Y", 1, ["a", "b", "c", hidden])],
        held,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "node.onnx")
    return tmp_path / "node.onnx"


def test_layout_1_is_checked_as_right(tmp_path):
    file = node_file(tmp_path, linear_before_reset=1, layout=1)
    assert cells.check(file, against="gru:biases=0").ok


@pytest.mark.parametrize(
    ("kind", "known", "words"),
    [
        ("LSTM", {"clip": 2.0}, "clip 2;.*without clip"),
        ("GRU", {"direction": "reverse"}, "'reverse' alone"),
        ("RNN", {"activations": ["Elu"], "activation_alpha": [0.5]}, r"elu\(0\.5\)"),
        ("GRU", {"activations": ["HardSigmoid", "Tanh"]}, "hardsigmoid"),
    ],
)
def test_what_a_node_has_and_no_cell_has_is_refused_by_name(kind, known, words, tmp_path):
    with pytest.raises(ValueError, match=rf"node\.onnx: {kind} 'rnn' .*{words}"):
        cells.from_onnx(node_file(tmp_path, kind, **known))


@pytest.mark.parametrize("seed", range(30))
def test_a_damaged_file_is_told_in_one_line_that_names_it(seed, tmp_path):
    file = node_file(tmp_path, linear_before_reset=1)
    rng, data = np.random.default_rng(seed), bytearray(file.read_bytes())
    for place in rng.integers(0, len(data), 3):
        data[place] = rng.integers(256)
    file.write_bytes(bytes(data))
    try:
        cells.from_onnx(file, start=True)
    except ValueError as error:
        assert "node.onnx" in str(error)
        assert "\n" not in str(error)


def test_a_data_type_that_is_unknown_and_a_constant_without_a_value_are_named(tmp_path):
    for change, words in (
        (lambda m: setattr(m.graph.initializer[0], "data_type", 46), "node.onnx"),
        (lambda m: m.graph.node.insert(0, helper.make_node("Constant", [], ["none"])), "Constant"),
    ):
        model = onnx.load(node_file(tmp_path))
        change(model)
        onnx.save(model, tmp_path / "node.onnx")
        with pytest.raises(ValueError, match=words):
            cells.from_onnx(tmp_path / "node.onnx")
