"""FlashRNN as a backend: its layout on a stand-in, and on its own PyTorch path where it is installed."""

import dataclasses
import sys
import types
from dataclasses import replace
from importlib import metadata

import numpy as np
import pytest
import torch
from support.comparison import compare, computed, prepare, problem, tolerance

from cellbench import cells
from cellbench.cells.backends import flashrnn as backend

BACKEND = cells.backend("flashrnn")
SPECS = ["elman:biases=1", "lstm", "lstm:biases=0", "gru", "gru:biases=1", "slstm", "slstm:heads=3"]
SPECS += ["gru:layers=2:bidirectional=True:readout=3"]


@dataclasses.dataclass
class Config:
    """The fields of FlashRNNConfig that a call needs."""

    backend: str
    function: str
    num_heads: int
    hidden_dim: int
    batch_size: int
    dtype: str
    input_shape: str
    output_shape: str

    def __post_init__(self):
        assert (self.input_shape, self.output_shape) == ("TBGHD", "STBHD")
        if (self.function, self.backend) == ("gru", "cuda_fused"):
            self.backend = "cuda"


def stand_in(wx, r, b, states, config):
    """g = R s + x + b of every head and step, then the function, as the paper (section 2) writes it.

    wx (T, B, G, N, D), r (G, N, D, P), b (G, N, D), states (S, 1, B, N, D); returns (S, T, B, N, D) and the
    last (S, 1, B, N, D). A GRU has the recurrent gates g, r, z, the input gates r, z, n, and the biases
    g, r, z, n.
    """
    now, every = list(states[:, 0]), []
    for x in wx:
        ry = torch.einsum("gndp,bnp->gbnd", r, now[0])
        bias = b[:, None]
        if config.function == "gru":
            keep = torch.sigmoid(x[:, 1] + ry[2] + bias[2])
            reset = torch.sigmoid(x[:, 0] + ry[1] + bias[1])
            new = torch.tanh(x[:, 2] + bias[3] + reset * (ry[0] + bias[0]))
            now = [keep * now[0] + (1 - keep) * new]
        else:
            raw = x.movedim(1, 0) + ry + bias
            now = {"elman": elman, "lstm": lstm, "slstm": slstm}[config.function](raw, now)
        every.append(torch.stack(now))
    return torch.stack(every, 1), torch.stack(now)[:, None]


def elman(raw, now):
    return [torch.tanh(raw[0])]


def lstm(raw, now):
    i, f, z, o = raw
    c = torch.sigmoid(f) * now[1] + torch.sigmoid(i) * torch.tanh(z)
    return [torch.sigmoid(o) * torch.tanh(c), c]


def slstm(raw, now):
    (i, f, z, o), (_, c, n, m) = raw, now
    log_f = torch.nn.functional.logsigmoid(f) + m
    m = i if torch.all(n == 0) else torch.maximum(i, log_f)
    c = torch.exp(log_f - m) * c + torch.exp(i - m) * torch.tanh(z)
    n = torch.maximum(torch.exp(log_f - m) * n + torch.exp(i - m), torch.ones_like(n))
    return [torch.sigmoid(o) * c / n, c, n, m]


@pytest.fixture
def stood_in(monkeypatch):
    module = types.ModuleType("flashrnn")
    module.flashrnn, module.FlashRNNConfig = stand_in, Config
    monkeypatch.setitem(sys.modules, "flashrnn", module)
    version = metadata.version
    monkeypatch.setattr(
        metadata, "version", lambda name: "of a stand-in" if name == "flashrnn" else version(name)
    )


def held(spec, states=True):
    """Outputs, states and all gradients against the float64 reference."""
    case = problem(cells.get(spec))
    if "n" in case.state:  # a normaliser that a run reaches
        case.state["n"] = 1 + np.abs(case.state["n"])
    if not states:
        case.state = {name: np.zeros_like(value) for name, value in case.state.items()}
    program = prepare("flashrnn", case)
    compare(computed(program, case), computed(prepare("numpy", case), case), tolerance("float64", case.steps))
    return program.implementation


@pytest.mark.quick
@pytest.mark.parametrize("spec", SPECS)
def test_a_stand_in_with_flashrnns_layout_matches_the_float64_reference(spec, stood_in):
    assert "vanilla" in held(spec) or cells.get(spec).stacked


@pytest.mark.quick
def test_from_states_of_zeros_slstms_gradient_is_the_cells(stood_in):
    held("slstm:heads=3", states=False)


@pytest.mark.parametrize("spec", SPECS)
def test_flashrnns_own_loop_matches_the_float64_reference(spec):
    pytest.importorskip("flashrnn")
    assert "flashrnn 1." in held(spec) or cells.get(spec).stacked
    held(spec, states=False)


@pytest.mark.quick
@pytest.mark.parametrize("spec", ["lstm", "gru", "slstm"])
def test_gates_in_another_order_are_noticed(spec, stood_in, monkeypatch):
    gates = backend.FUNCTIONS[spec]
    turned = (gates.recurrent[1], gates.recurrent[0], *gates.recurrent[2:])
    monkeypatch.setitem(backend.FUNCTIONS, spec, replace(gates, recurrent=turned))
    with pytest.raises(AssertionError):
        held(spec)


@pytest.mark.quick
def test_the_row_says_which_kernels_flashrnn_takes_where_it_has_not_those_asked_for(stood_in, monkeypatch):
    monkeypatch.setitem(backend.KERNELS, "cpu", "cuda_fused")
    assert [held(spec).split()[-1] for spec in ("gru", "lstm")] == ["cuda", "cuda_fused"]


@pytest.mark.quick
@pytest.mark.parametrize(
    ("spec", "asked", "words"),
    [
        ("mgu", {}, "FlashRNN has no function that computes cell 'mgu'; it has elman, lstm, slstm, gru"),
        ("elman:activation=relu", {}, "computes cell 'elman' with activation=relu"),
        ("lstm:proj_size=2", {}, "computes cell 'lstm' with proj_size=2"),
        ("gru", {"dtype": "float64", "device": "cuda"}, "FlashRNN's kernels have no dtype float64"),
    ],
)
def test_what_flashrnn_has_not_is_said_in_one_line(spec, asked, words):
    assert words in BACKEND.unsupported(cells.get(spec), **asked)


@pytest.mark.quick
def test_without_the_package_a_compiler_or_a_capable_device_it_is_unavailable(monkeypatch, stood_in):
    from torch.utils import cpp_extension

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))
    monkeypatch.setattr(cpp_extension, "CUDA_HOME", None)
    assert BACKEND.unavailable("cuda") == (
        "FlashRNN compiles its kernels with nvcc, which is not found; CUDA_HOME names its folder"
    )
    monkeypatch.setattr(cpp_extension, "CUDA_HOME", "/cuda")
    assert "need compute capability 8.0; this device has 7.5" in BACKEND.unavailable("cuda")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    assert BACKEND.unavailable("cuda") is None

    def no_compiler(name, extra):
        raise OSError("CUDA_HOME environment variable is not set.\nPlease set it")

    with monkeypatch.context() as patch:
        patch.setattr(backend, "package", no_compiler)
        assert BACKEND.unavailable() == (
            "flashrnn cannot be imported: CUDA_HOME environment variable is not set. Please set it"
        )
    monkeypatch.setitem(sys.modules, "flashrnn", None)
    assert BACKEND.unavailable() == "package flashrnn is not installed; pip install 'cellbench[flashrnn]'"
