"""Weights in and out: torch.nn, ONNX and Keras, both ways, outputs held against the float64 reference."""

import re
import subprocess
import sys
from itertools import permutations
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from support.comparison import ODD, compare, named, problem, tolerance
from support.keras_steps import keras_layer

from cellbench import cells
from cellbench.cells.exchange.layouts import KERAS, ONNX, rows_here, rows_there

pytestmark = pytest.mark.quick

MODULES = [
    lambda **k: torch.nn.RNN(5, 7, **k),
    lambda **k: torch.nn.RNN(5, 7, nonlinearity="relu", **k),
    lambda **k: torch.nn.LSTM(5, 7, **k),
    lambda **k: torch.nn.GRU(5, 7, **k),
]
STEPS = [
    lambda **k: torch.nn.RNNCell(5, 7, **k),
    lambda **k: torch.nn.RNNCell(5, 7, nonlinearity="relu", **k),
    lambda **k: torch.nn.LSTMCell(5, 7, **k),
    lambda **k: torch.nn.GRUCell(5, 7, **k),
]
HELD = [n for n in cells.names() if cells.get(n).torch_module()]
WRITTEN = [f"{n}{o}" for n in ONNX for o in ("", ":biases=0", ":biases=1:readout=3", ":biases=2")]
WRITTEN += ["elman:activation=relu", "elman:activation=identity"]
LAYERS = [f"{n}{o}" for n in KERAS for o in ("", ":biases=0", ":biases=1:readout=3", ":biases=2")]


def reference(cell, params, x, state=None):
    """Output and last states in float64."""
    program = cells.backend("numpy").prepare(
        cell, params, steps=len(x), batch=x.shape[1], dtype="float64", direction="forward"
    )
    return named(program.forward(x, state))


def refused(call, *words):
    """The one line that a call is refused with, which holds these words."""
    with pytest.raises(ValueError, match=".*".join(re.escape(w) for w in words)) as caught:
        call()
    assert "\n" not in str(caught.value)


def draws(*shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape)


def test_importing_cells_imports_neither_torch_nor_onnx():
    code = (
        "import sys; from cellbench import cells;"
        " sys.exit(','.join({'torch', 'onnx', 'onnxruntime', 'google.protobuf'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# torch


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no-bias"])
@pytest.mark.parametrize("module", MODULES)
def test_a_torch_module_s_outputs_are_the_cell_s(module, bias):
    module = module(bias=bias, dtype=torch.float64)
    cell, params = cells.from_torch(module)
    x = draws(17, 3, 5)
    with torch.no_grad():
        output, last = module(torch.tensor(x))
    last = last if isinstance(last, tuple) else (last,)
    want = {"output": output} | {f"state.{s}": v[0] for s, v in zip(cell.states, last, strict=True)}
    compare(reference(cell, params, x), want, tolerance("float64", 17))
    assert cell.biases == 2 * bias


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no-bias"])
@pytest.mark.parametrize("module", STEPS)
def test_a_torch_step_module_s_outputs_are_the_cell_s(module, bias):
    module = module(bias=bias, dtype=torch.float64)
    cell, params = cells.from_torch(module)
    x, state = draws(17, 3, 5), None
    with torch.no_grad():
        for x_t in torch.tensor(x):
            state = module(x_t, state)
    last = state if isinstance(state, tuple) else (state,)
    have = reference(cell, params, x)
    compare(
        {k: v for k, v in have.items() if k != "output"},
        {f"state.{s}": v for s, v in zip(cell.states, last, strict=True)},
        tolerance("float64", 17),
    )


@pytest.mark.parametrize(
    "options", [{"layers": 2}, {"bidirectional": True}, {"layers": 3, "bidirectional": True}]
)
@pytest.mark.parametrize("name", HELD)
def test_a_torch_stack_goes_both_ways(name, options):
    cell = cells.get(name, **options)
    params = cell.init(5, 7)
    module = cells.to_torch(cell, params)
    assert (module.num_layers, module.bidirectional) == (cell.layers, cell.bidirectional)
    again, back = cells.from_torch(module)
    assert again == cell
    compare(back, params, 0)
    x = draws(17, 3, 5)
    with torch.no_grad():
        output = module(torch.tensor(x))[0]
    compare({"output": reference(cell, params, x)["output"]}, {"output": output}, tolerance("float64", 17))


@pytest.mark.parametrize("options", ["", ":biases=0", ":biases=1"])
@pytest.mark.parametrize("name", [*HELD, "elman:activation=relu"])
def test_a_cell_s_weights_come_back_from_torch_as_they_were(name, options):
    case = problem(cells.get(name + options))
    generator = torch.random.get_rng_state()
    module = cells.to_torch(case.cell, case.params)
    assert torch.equal(torch.random.get_rng_state(), generator)
    first = tuple(torch.tensor(v)[None] for v in case.state.values())
    with torch.no_grad():
        output = module(torch.tensor(case.x), first if len(first) > 1 else first[0])[0]
    have = reference(case.cell, case.params, case.x, case.state)
    compare({"output": have["output"]}, {"output": output}, tolerance("float64", 17))
    cell, params = cells.from_torch(module)
    second = {"bias_hh": np.zeros_like(case.params["bias_ih"])} if case.cell.biases == 1 else {}
    compare(params, case.params | second, 0)
    assert cell.name == case.cell.name


@pytest.mark.parametrize("given", ["float16", "bfloat16", "float32"])
def test_weights_of_any_floating_dtype_become_float64_unchanged(given):
    module = torch.nn.LSTM(5, 7, dtype=getattr(torch, given))
    _, params = cells.from_torch(module)
    for name, value in params.items():
        assert value.dtype == np.float64
        assert torch.equal(torch.tensor(value, dtype=getattr(torch, given)), getattr(module, f"{name}_l0"))


def test_arrays_from_torch_are_copies():
    module = torch.nn.GRU(5, 7, dtype=torch.float64)
    _, params = cells.from_torch(module)
    before = module.weight_ih_l0.detach().clone()
    params["weight_ih"][:] = 0
    assert torch.equal(module.weight_ih_l0, before)


def changed(module, **attributes):
    """The module with other attributes."""
    for name, value in attributes.items():
        setattr(module, name, value)
    return module


def without(module, name):
    delattr(module, name)
    return module


class Wider(torch.nn.LSTM):
    """A subclass whose recurrent weights are not those of its hidden_size."""

    def __init__(self):
        super().__init__(5, 7)
        self.weight_hh_l0 = torch.nn.Parameter(torch.zeros(28, 8))


class Renamed(torch.nn.GRU):
    def __init__(self):
        super().__init__(5, 7)
        self.kernel = torch.nn.Parameter(self.weight_ih_l0.detach())
        del self.weight_ih_l0


class Other(torch.nn.LSTM):
    def forward(self, x, hx=None):
        output, last = super().forward(x, hx)
        return -output, last


def whole_numbers(module):
    module.weight_ih_l0 = torch.nn.Parameter(torch.zeros(21, 5, dtype=torch.int8), requires_grad=False)
    return module


NOT_WHAT_THEY_CLAIM = [
    (lambda: torch.nn.Linear(5, 7), ("torch.nn", "LSTM", "torch.nn.modules.linear.Linear")),
    (lambda: torch.nn.LSTM, ("it was given LSTM",)),
    (lambda: {"weight_ih": 0}, ("no recurrent module in no arrays", "weight_hh_l0")),
    (
        lambda: changed(torch.nn.LSTM(5, 7, proj_size=3), proj_size=2),
        ("LSTM: weight_hh_l0 is (28, 3)", "(28, 2)"),
    ),
    (lambda: changed(torch.nn.LSTM(5, 7, proj_size=3), proj_size=0), ("LSTM has weight_hr_l0", "do not say")),
    (Wider, ("Wider (a torch.nn.LSTM)", "weight_hh_l0 is (28, 8)", "hidden_size 7", "(28, 7)")),
    (Renamed, ("Renamed (a torch.nn.GRU) has kernel", "weight_ih_l0")),
    (lambda: Other(5, 7), ("Other has a forward", "torch.nn.LSTM")),
    (
        lambda: changed(torch.nn.LSTM(5, 7), hidden_size=9),
        ("LSTM: weight_ih_l0 is (28, 5)", "hidden_size 9", "(36, 5)"),
    ),
    (
        lambda: changed(torch.nn.LSTM(5, 7), input_size=6),
        ("weight_ih_l0 is (28, 5)", "input_size 6", "(28, 6)"),
    ),
    (lambda: changed(torch.nn.LSTM(5, 7), input_size=-6), ("LSTM: input_size is -6",)),
    (
        lambda: changed(torch.nn.LSTM(5, 7), bias=False),
        ("LSTM has bias_ih_l0, bias_hh_l0", "attributes do not say"),
    ),
    (lambda: changed(torch.nn.GRU(5, 7), forward=lambda x: x), ("GRU has a forward",)),
    (lambda: changed(torch.nn.RNN(5, 7), mode="RNN_SIGMOID"), ("activation is 'sigmoid'",)),
    (lambda: changed(torch.nn.LSTM(5, 7), num_layers=2), ("LSTM has no weight_ih_l1",)),
    (lambda: changed(torch.nn.LSTM(5, 7), num_layers=0), ("LSTM: layers is 0",)),
    (
        lambda: changed(torch.nn.LSTM(5, 7, 2), num_layers=1),
        ("LSTM has weight_ih_l1", "attributes do not say"),
    ),
    (lambda: without(torch.nn.LSTM(5, 7), "bias_hh_l0"), ("LSTM has no bias_hh_l0", "(28,)")),
    (lambda: without(torch.nn.GRUCell(5, 7), "weight_hh"), ("GRUCell has no weight_hh", "(21, 7)")),
    (lambda: whole_numbers(torch.nn.GRU(5, 7)), ("GRU: weight_ih_l0 is of dtype torch.int8", "floating")),
    (lambda: torch.nn.LSTM(5, 7, dtype=torch.complex64), ("weight_ih_l0 is of dtype torch.complex64",)),
    (lambda: torch.nn.LSTM(5, 7, device="meta"), ("weight_ih_l0 is on the device meta",)),
]


@pytest.mark.parametrize(("make", "words"), NOT_WHAT_THEY_CLAIM)
def test_a_module_that_is_not_what_it_claims_is_refused_by_name(make, words):
    refused(lambda: cells.from_torch(make()), *words)


@pytest.mark.filterwarnings("ignore")  # of torch, about its own quantisation
def test_a_quantised_module_is_refused_by_name():
    if not torch.backends.quantized.supported_engines:
        pytest.skip("this build of torch has no quantised engine")
    module = torch.ao.quantization.quantize_dynamic(
        torch.nn.Sequential(torch.nn.LSTM(5, 7)), {torch.nn.LSTM}
    )[0]
    refused(lambda: cells.from_torch(module), "it was given a torch.ao.nn.quantized.dynamic", "LSTM")


@pytest.mark.parametrize(
    ("named_cell", "words"),
    [
        ("elman:activation=identity", "no module for cell 'elman:activation=identity'"),
        ("gru_reset_before", "no module"),
        ("lstm:readout=2", "has a read-out"),
    ],
)
def test_a_cell_that_torch_has_no_module_for_is_refused_by_name(named_cell, words):
    cell = cells.get(named_cell)
    refused(lambda: cells.to_torch(cell, cell.init(5, 7)), words)


# gate orders


@pytest.mark.parametrize(("name", "order"), [(n, t[n].order) for t in (KERAS, ONNX) for n in t])
def test_rows_come_back_from_every_order(name, order):
    gates = cells.get(name).gates
    rows = draws(len(gates) * 7, 5)
    assert np.array_equal(rows_here(rows_there(rows, gates, order), gates, order), rows)


@pytest.mark.parametrize("name", ["lstm", "gru", "gru_reset_before"])
def test_every_other_gate_order_fails_in_keras(name):
    case = problem(cells.get(name))
    made = cells.to_keras(case.cell, case.params)
    want = reference(case.cell, case.params, case.x)
    gates = len(case.cell.gates)
    for order in permutations(range(gates)):
        arrays = [np.concatenate([np.split(a, gates, -1)[g] for g in order], -1) for a in made]
        error = np.abs(keras_layer(name, arrays, case.x)["output"] - want["output"]).max()
        assert (error < 1e-12) == (order == tuple(range(gates))), f"order {order}: error {error}"


@pytest.mark.parametrize("name", [n for n in ONNX if n != "elman"])
def test_every_other_gate_order_fails_in_onnx(name, tmp_path):
    case = problem(cells.get(name))
    cells.to_onnx(case.cell, case.params, tmp_path / "cell.onnx")
    model = onnx.load(tmp_path / "cell.onnx")
    held = {t.name: t for t in model.graph.initializer}
    want = reference(case.cell, case.params, case.x)["output"]
    gates = held["W"].dims[1] // 7
    before = {slot: numpy_helper.to_array(held[slot]) for slot in ("W", "R", "B")}
    for order in permutations(range(gates)):
        for slot, rows in before.items():
            blocks = rows.reshape(-1, gates, 7, *rows.shape[2:])[:, list(order)]
            held[slot].CopyFrom(numpy_helper.from_array(blocks.reshape(rows.shape), slot))
        output = session(model).run(["y"], {"x": case.x.astype(np.float32)})[0]
        error = np.abs(output - want).max()
        assert (error < 1e-5) == (order == tuple(range(gates))), f"order {order}: error {error}"


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_every_other_order_of_peepholes_fails_in_onnx(order, tmp_path):
    case = problem(cells.get("peephole_lstm"))
    cells.to_onnx(case.cell, case.params, tmp_path / "cell.onnx")
    model = onnx.load(tmp_path / "cell.onnx")
    held = next(t for t in model.graph.initializer if t.name == "P")
    held.CopyFrom(
        numpy_helper.from_array(numpy_helper.to_array(held).reshape(3, 7)[list(order)].reshape(1, 21), "P")
    )
    output = session(model).run(["y"], {"x": case.x.astype(np.float32)})[0]
    error = np.abs(output - reference(case.cell, case.params, case.x)["output"]).max()
    assert (error < 1e-5) == (order == (0, 1, 2)), f"order {order}: error {error}"


# ONNX


def session(model):
    given = model if isinstance(model, str) else model.SerializeToString()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    return onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])


def fed(case, dtype, given):
    """The inputs of a model by name."""
    inputs = {"x": case.x.astype(dtype)}
    return inputs | ({f"{s}0": v.astype(dtype) for s, v in case.state.items()} if given else {})


def by_name(case, results):
    return dict(zip(["output", *(f"state.{s}" for s in case.cell.states)], results, strict=True))


@pytest.mark.parametrize("given", [True, False], ids=["state", "no-state"])
@pytest.mark.parametrize("named_cell", WRITTEN)
def test_onnxruntime_computes_the_cell(named_cell, given, tmp_path):
    case = problem(cells.get(named_cell))
    cells.to_onnx(case.cell, case.params, tmp_path / "cell.onnx")
    have = session(str(tmp_path / "cell.onnx")).run(["y", *case.cell.states], fed(case, np.float32, given))
    want = reference(case.cell, case.params, case.x, case.state if given else None)
    compare(by_name(case, have), want, tolerance("float32", 17))


@pytest.mark.parametrize("given", [True, False], ids=["state", "no-state"])
@pytest.mark.parametrize("named_cell", [s for s in WRITTEN if "activation" not in s])
def test_the_reference_evaluator_of_onnx_computes_the_cell_in_float64(named_cell, given, tmp_path):
    """It knows neither input_forget, which the model does without, nor RNN's other activations."""
    case = problem(cells.get(named_cell))
    if "c" in case.cell.states and tuple(map(int, onnx.__version__.split(".")[:2])) < (1, 23):
        pytest.skip("the evaluator of onnx before 1.23 gives no last cell state of an LSTM")
    cells.to_onnx(case.cell, case.params, tmp_path / "cell.onnx", dtype="float64")
    have = ReferenceEvaluator(str(tmp_path / "cell.onnx")).run(
        ["y", *case.cell.states], fed(case, np.float64, given)
    )
    want = reference(case.cell, case.params, case.x, case.state if given else None)
    compare(by_name(case, have), want, tolerance("float64", 17))


@pytest.mark.parametrize("named_cell", WRITTEN)
def test_a_cell_s_weights_come_back_from_onnx_as_they_were(named_cell, dtype, tmp_path):
    case = problem(cells.get(named_cell))
    cells.to_onnx(case.cell, case.params, tmp_path / "cell.onnx", dtype=dtype)
    cell, params = cells.from_onnx(tmp_path / "cell.onnx")
    second = {"bias_hh": np.zeros_like(case.params["bias_ih"])} if case.cell.biases == 1 else {}
    compare(params, case.params | second, 0)  # the parameters of a problem are exact in float32
    assert (cell.name, cell.readout) == (case.cell.name, case.cell.readout)
    assert named_cell.split(":")[0] != "elman" or cell.activation == case.cell.activation
    compare(
        reference(cell, params, case.x), reference(case.cell, case.params, case.x), tolerance("float64", 17)
    )


@pytest.mark.parametrize("readout", [False, True], ids=["plain", "read-out"])
@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_a_model_that_torch_exports_is_read(kind, readout, tmp_path):
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = getattr(torch.nn, kind)(5, 7)
            self.out = torch.nn.Linear(7, 3) if readout else torch.nn.Identity()

        def forward(self, x):
            return self.out(self.rnn(x)[0])

    net, x, file = Net(), torch.tensor(draws(17, 3, 5)).float(), tmp_path / "net.onnx"
    with pytest.warns(Warning):  # this exporter is the older one, which needs nothing but onnx
        torch.onnx.export(net, (x,), str(file), dynamo=False)
    cell, params = cells.from_onnx(file)
    with torch.no_grad():
        want = net.double()(x.double()).numpy()
    compare(
        {"y": reference(cell, params, x.double().numpy())["output"]}, {"y": want}, tolerance("float64", 17)
    )


class OfTheLast(torch.nn.Module):
    """A linear layer on the last state, which is exported as a Gemm; `again` adds the state once more."""

    def __init__(self, again=False):
        super().__init__()
        self.rnn, self.out, self.again = torch.nn.GRU(5, 7), torch.nn.Linear(7, 7), again

    def forward(self, x):
        last = self.rnn(x)[1][0]
        return self.out(last) + last if self.again else self.out(last)


def test_a_linear_layer_on_the_last_state_is_read_as_the_read_out(tmp_path):
    net, x, file = OfTheLast(), torch.tensor(draws(17, 3, 5)).float(), tmp_path / "net.onnx"
    with pytest.warns(Warning):
        torch.onnx.export(net, (x,), str(file), dynamo=False)
    assert "Gemm" in {node.op_type for node in onnx.load(file).graph.node}
    cell, params = cells.from_onnx(file)
    with torch.no_grad():
        want = net.double()(x.double()).numpy()
    compare(
        {"y": reference(cell, params, x.double().numpy())["output"][-1]},
        {"y": want},
        tolerance("float64", 17),
    )


def test_a_sum_that_is_no_bias_is_refused_by_name(tmp_path):
    with pytest.warns(Warning):
        torch.onnx.export(
            OfTheLast(again=True), (torch.zeros(17, 3, 5),), str(tmp_path / "net.onnx"), dynamo=False
        )
    refused(lambda: cells.from_onnx(tmp_path / "net.onnx"), "net.onnx also computes Add")


def rewritten(tmp_path, spec="lstm", **changes):
    """A model with attributes of its recurrent node, initialisers or nodes (`after`) changed; its path."""
    cell, file = cells.get(spec), tmp_path / "cell.onnx"
    cells.to_onnx(cell, cell.init(5, 7), file)
    model = onnx.load(file)
    node = next(n for n in model.graph.node if n.op_type in ("RNN", "LSTM", "GRU"))
    for name, value in changes.items():
        if name == "after":
            model.graph.node.append(helper.make_node(value, ["y"], ["z"]))
        elif name == "again":
            model.graph.node.append(helper.make_node(value, ["x", "W", "R"], ["again"], hidden_size=7))
        elif isinstance(value, np.ndarray):
            next(t for t in model.graph.initializer if t.name == name).CopyFrom(
                numpy_helper.from_array(value, name)
            )
        else:
            for old in [a for a in node.attribute if a.name == name]:
                node.attribute.remove(old)
            node.attribute.append(helper.make_attribute(name, value))
    onnx.save(model, file)
    return file


@pytest.mark.parametrize(
    ("named_cell", "changes", "words"),
    [
        ("lstm", {"direction": "reverse"}, ("cell.onnx: LSTM has direction 'reverse'",)),
        ("lstm", {"clip": 3.0}, ("LSTM has clip 3",)),
        (
            "lstm",
            {"activations": ["HardSigmoid", "Tanh", "Tanh"]},
            ("activations hardsigmoid", "Sigmoid, Tanh, Tanh"),
        ),
        ("elman", {"activations": ["Sigmoid"]}, ("RNN has the activation sigmoid", "Relu")),
        (
            "elman",
            {"activations": ["Affine"], "activation_alpha": [2.0], "activation_beta": [0.0]},
            ("activation affine",),
        ),
        ("peephole_lstm", {"input_forget": 1}, ("peepholes and input_forget",)),
        ("lstm", {"R": np.zeros((1, 28, 8), np.float32)}, ("R is (1, 28, 8)", "hidden_size 7", "(1, 28, 7)")),
        ("lstm", {"hidden_size": 9}, ("is (1, 28, 5)", "hidden_size 9", "(1, 36, 5)")),
        ("gru", {"B": np.zeros((1, 21), np.float32)}, ("B is (1, 21)", "(1, 42)")),
        ("lstm", {"W": np.zeros((1, 28, 5), np.int32)}, ("W is of dtype int32",)),
        ("lstm", {"after": "Softmax"}, ("also computes Softmax",)),
        ("lstm:readout=2", {"after": "Relu"}, ("also computes Relu",)),
        ("lstm", {"again": "LSTM"}, ("read the same input side by side", "extract_model")),
    ],
)
def test_a_model_that_is_no_cell_is_refused_by_name(named_cell, changes, words, tmp_path):
    file = rewritten(tmp_path, named_cell, **changes)
    refused(lambda: cells.from_onnx(file), *words)


def test_coupled_gates_are_read_as_onnxruntime_computes_them(tmp_path):
    """f = 1 - i whatever f's rows hold: in a model whose rows are not each other's negative."""
    file = rewritten(tmp_path, "lstm", input_forget=1)
    cell, params = cells.from_onnx(file)
    assert cell.name == "cifg"
    x = draws(17, 3, 5)
    have = session(str(file)).run(["y"], {"x": x.astype(np.float32)})[0]
    compare({"y": have}, {"y": reference(cell, params, x)["output"]}, tolerance("float32", 17))


def test_a_file_that_is_no_model_is_refused_by_name(tmp_path):
    (tmp_path / "text.onnx").write_text("no model")
    refused(lambda: cells.from_onnx(tmp_path / "text.onnx"), "text.onnx is no ONNX model")
    refused(lambda: cells.from_onnx(tmp_path / "none.onnx"), "no file", "none.onnx")


def test_a_cell_or_dtype_that_onnx_has_not_is_refused_by_name(tmp_path):
    other, lstm = (
        cells.get(f"{Path(__file__).parents[1] / 'support' / 'odd_cells.py'}:Oscillator"),
        cells.get("lstm"),
    )
    refused(
        lambda: cells.to_onnx(other, other.init(5, 7), tmp_path / "a"),
        "ONNX has no layer",
        "'Oscillator'",
        "lstm (LSTM)",
    )
    refused(
        lambda: cells.to_onnx(lstm, lstm.init(5, 7), tmp_path / "a", dtype="float16"),
        "dtype is 'float16'",
        "float64",
    )
    refused(
        lambda: cells.to_onnx(lstm, lstm.init(5, 7), tmp_path / "none" / "a"),
        "no folder",
        "none",
        "make it first",
    )
    assert not list(tmp_path.iterdir())


def test_without_the_package_onnx_there_is_one_clear_line(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnx", None)
    lstm = cells.get("lstm")
    for call in (
        lambda: cells.to_onnx(lstm, lstm.init(5, 7), tmp_path / "a"),
        lambda: cells.from_onnx(tmp_path / "a"),
    ):
        refused(call, "package onnx is not installed; pip install 'cellbench[onnx]'")


# Keras


@pytest.mark.parametrize("named_cell", LAYERS)
def test_the_arrays_for_keras_give_the_cell_s_outputs_there(named_cell):
    case = problem(cells.get(named_cell))
    arrays = cells.to_keras(case.cell, case.params)
    name, gates = case.cell.name, len(case.cell.gates)
    assert [a.shape for a in arrays[:2]] == [(5, gates * 7), (7, gates * 7)]
    if case.cell.biases:
        assert arrays[2].shape == ((2, gates * 7) if name == "gru" else (gates * 7,))
    have = keras_layer(name, arrays, case.x, case.state, readout=case.cell.readout)
    compare(have, reference(case.cell, case.params, case.x, case.state), tolerance("float64", 17))


@pytest.mark.parametrize("named_cell", LAYERS)
def test_arrays_of_keras_come_in_and_go_out_as_they_were(named_cell):
    name, _, _ = named_cell.partition(":")
    given = cells.get(named_cell)
    gates, biases = len(given.gates), given.biases
    arrays = [draws(5, gates * 7, seed=1), draws(7, gates * 7, seed=2)]
    if biases:
        arrays.append(draws(*((2, gates * 7) if name == "gru" else (gates * 7,)), seed=3))
    if given.readout:
        arrays += [draws(7, 3, seed=4), draws(3, seed=5)]
    cell, params = cells.from_keras(name, arrays)
    assert (cell.name, cell.readout) == (name, given.readout)
    x = draws(17, 3, 5)
    compare(
        reference(cell, params, x),
        keras_layer(name, arrays, x, readout=given.readout),
        tolerance("float64", 17),
    )
    back = cells.to_keras(cell, params)
    assert all(np.array_equal(a, b) for a, b in zip(back, arrays, strict=True))


def test_a_cell_that_is_given_keeps_its_options():
    arrays = [draws(5, 7, seed=1), draws(7, 7, seed=2), draws(7, seed=3)]
    cell, params = cells.from_keras(cells.get("elman", activation="relu"), arrays)
    assert (cell.activation, cell.biases) == ("relu", 2)
    assert not params["bias_hh"].any()
    assert np.array_equal(params["bias_ih"], arrays[2])


@pytest.mark.parametrize(
    ("cell", "shapes", "words"),
    [
        ("lstm", [(5, 28)], ("arrays are (5, 28)", "kernel, recurrent_kernel")),
        ("lstm", [(28, 5), (28, 7), (28,)], ("kernel is (28, 5)", "(28, 112)")),
        ("lstm", [(5, 28), (7, 21), (28,)], ("recurrent_kernel is (7, 21)", "LSTM", "(7, 28)")),
        ("lstm", [(5, 28), (7, 28), (2, 28)], ("bias is (2, 28)", "(28,)")),
        ("gru", [(5, 21), (7, 21), (21,)], ("bias is (21,)", "(2, 21)", "gru_reset_before")),
        (
            "gru_reset_before",
            [(5, 21), (7, 21), (2, 21)],
            ("bias is (2, 21)", "(21,)", "reset_after=True", "gru"),
        ),
        ("gru:biases=1", [(5, 21), (7, 21), (2, 21)], ("cell 'gru' has biases=1; give it biases=2",)),
        ("lstm:biases=1", [(5, 28), (7, 28)], ("no bias", "biases=1; give it biases=0")),
        ("lstm:biases=0", [(5, 28), (7, 28), (28,)], ("biases=0; give it biases=1",)),
        (
            "lstm:biases=1",
            [(5, 28), (7, 28), (28,), (7, 3), (3,)],
            ("kernel and bias of a Dense", "readout=0"),
        ),
        (
            "lstm:biases=1:readout=2",
            [(5, 28), (7, 28), (28,), (7, 3), (3,)],
            ("dense kernel is (7, 3)", "(7, 2)"),
        ),
        ("lstm:biases=1:readout=2", [(5, 28), (7, 28), (28,)], ("dense kernel is missing", "(7, 2)")),
        (f"{ODD}:Oscillator", [(5, 7), (7, 7), (7,)], ("Keras has no layer", "'Oscillator'")),
    ],
)
def test_arrays_that_are_not_the_layer_s_are_refused_by_name(cell, shapes, words):
    given = cells.get(cell) if ":" in cell else cell
    refused(lambda: cells.from_keras(given, [np.zeros(s) for s in shapes]), *words)


# the initialisation of Keras


@pytest.mark.parametrize(
    "named_cell", [*KERAS, *(f"{n}:biases=1:readout=3" for n in KERAS), "cifg", "peephole_lstm"]
)
def test_the_scheme_keras_draws_as_keras_does(named_cell):
    cell, inputs, hidden = cells.get(named_cell), 50, 40
    params = cell.init(inputs, hidden, seed=3, scheme="keras")
    weight = params["weight_ih"]
    bound = np.sqrt(6 / sum(weight.shape))  # fan in I, fan out G * H: the whole kernel's, as it has them
    assert 0.99 * bound < np.abs(weight).max() <= bound
    assert abs(weight.std() / (bound / np.sqrt(3)) - 1) < 0.05
    recurrent = params["weight_hh"]
    np.testing.assert_allclose(recurrent.T @ recurrent, np.eye(hidden), atol=1e-13)
    total = sum(params[b] for b in ("bias_ih", "bias_hh") if b in params)
    for gate, block in zip(cell.gates, np.split(total, len(cell.gates)), strict=True):
        assert (block == (gate == "f")).all(), gate
    if cell.readout:
        assert not params["bias_out"].any()
        assert np.abs(params["weight_out"]).max() <= np.sqrt(6 / (hidden + 3))


def test_the_scheme_keras_is_one_orthogonal_matrix_not_one_a_gate():
    block = cells.get("lstm").init(5, 7, scheme="keras")["weight_hh"][:7]
    assert np.abs(block @ block.T - np.eye(7)).max() > 0.1


@pytest.mark.parametrize("name", cells.names())
def test_the_scheme_keras_serves_every_cell_and_is_deterministic_in_the_seed(name):
    cell = cells.get(name)
    sizes = (8, 8)
    one, two, other = (cell.init(*sizes, seed=s, scheme="keras") for s in (1, 1, 2))
    compare(one, two, 0)
    assert {k: v.shape for k, v in one.items()} == cell.parameter_shapes(*sizes)
    assert any(not np.array_equal(one[k], other[k]) for k in one)


def test_without_biases_the_scheme_keras_sets_none():
    assert set(cells.get("lstm:biases=0").init(5, 7, scheme="keras")) == {"weight_ih", "weight_hh"}


def test_the_scheme_keras_is_orthonormal_in_every_head():
    cell = cells.get(f"{Path(__file__).parents[1] / 'support' / 'odd_cells.py'}:Heads")
    weight = cell.init(5, 8, scheme="keras")["weight_hh"]
    for head in weight.reshape(2, 2, 4, 4).swapaxes(0, 1).reshape(2, 8, 4):
        np.testing.assert_allclose(head.T @ head, np.eye(4), atol=1e-13)


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True, "bias": False}], ids=str)
def test_a_projection_goes_through_torch_both_ways_and_computes_the_same(options):
    module = torch.nn.LSTM(5, 7, proj_size=3, dtype=torch.float64, **options)
    cell, params = cells.from_torch(module)
    back = cells.to_torch(cell, params)
    assert cell.proj_size == 3 and back.proj_size == 3
    for name, value in module.state_dict().items():
        assert torch.equal(value, back.state_dict()[name])
    x, d_output = (np.random.default_rng(0).standard_normal((6, 2, n)) for n in (5, cell.output_size(5, 7)))
    program = cells.backend("numpy").prepare(cell, params, steps=6, batch=2, dtype="float64")
    ours, grads = program.forward(x), program.backward(d_output)
    output, last = module(torch.tensor(x))
    output.backward(torch.tensor(d_output))
    np.testing.assert_allclose(ours.output, output.detach(), rtol=0, atol=1e-14)
    for name, value in zip("hc", last, strict=True):
        want = value if cell.stacked else value[0]
        np.testing.assert_allclose(ours.state[name], want.detach(), rtol=0, atol=1e-14)
    for name, value in grads.params.items():
        want = getattr(module, name if cell.stacked else f"{name}_l0").grad
        np.testing.assert_allclose(value, want, rtol=0, atol=1e-14)
