"""What people brought to `check` (reports C1 to C7), each kind with other inputs, and the right answer."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from cellbench import cells


class LSTM(nn.Module):
    """Two states, and a first state of its own where none is given."""

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.c, self.H = nn.LSTMCell(input_size, hidden_size), hidden_size

    def start(self, x):
        return (x.new_zeros(x.shape[1], self.H),) * 2

    def forward(self, x, state=None):
        state, outputs = self.start(x) if state is None else state, []
        for x_t in x:
            state = self.c(x_t, state)
            outputs.append(state[0])
        return torch.stack(outputs), state


def starting(start, **parameters):
    class Port(LSTM):
        def __init__(self, input_size, hidden_size):
            super().__init__(input_size, hidden_size)
            for name, value in parameters.items():
                setattr(self, name, nn.Parameter(torch.full((1, hidden_size), value)))

    Port.start = start
    return Port


STARTS = {
    "drawn": (lambda s, x: (torch.randn(x.shape[1], s.H),) * 2, {}, "draws random numbers"),
    "c of ones": (
        lambda s, x: (x.new_zeros(x.shape[1], s.H), x.new_ones(x.shape[1], s.H)),
        {},
        "from c of 1",
    ),
    "another axis": (lambda s, x: (x.new_zeros(x.shape[0], s.H),) * 2, {}, "it fails"),
    "learned": (lambda s, x: (s.h0.expand(x.shape[1], -1),) * 2, {"h0": 0.7}, "own first state (h0)"),
    "learned, zero now": (
        lambda s, x: (s.h0.expand(x.shape[1], -1),) * 2,
        {"h0": 0.0},
        "h0 (now 0 everywhere)",
    ),
    "a tenth": (lambda s, x: (x.new_full((x.shape[1], s.H), 0.1),) * 2, {}, "does not start from zeros"),
}


@pytest.mark.parametrize("name", STARTS)
def test_c1_a_first_state_that_is_not_zeros_is_said(name):
    start, parameters, words = STARTS[name]
    result = cells.check(starting(start, **parameters), against="lstm")
    assert not result.ok and "where no state is given" in result.diagnosis and words in result.diagnosis, str(
        result
    )
    assert cells.check(LSTM, against="lstm").ok


@pytest.mark.parametrize("biases, words", [(2, "has no b_ii"), (1, "has no b_ii"), (0, "right: ")])
def test_c2_fewer_biases_than_asked_for_are_not_right(biases, words):
    result = cells.check(nn.LSTM(3, 4, bias=False), against=f"lstm:biases={biases}")
    assert words in result.diagnosis and result.ok == (biases == 0)


class LayerNormLSTM(nn.Module):
    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.x2h = nn.Linear(input_size, 4 * hidden_size, bias=False)
        self.h2h = nn.Linear(hidden_size, 4 * hidden_size, bias=False)
        self.ln_x, self.ln_h = nn.LayerNorm(4 * hidden_size), nn.LayerNorm(4 * hidden_size)
        self.ln_c = nn.LayerNorm(hidden_size, eps=self.eps)

    eps = 1e-5

    def forward(self, x, state):
        h, c = state
        i, f, g, o = (self.ln_x(self.x2h(x)) + self.ln_h(self.h2h(h))).chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * torch.tanh(self.ln_c(c)), c


class OtherEps(LayerNormLSTM):
    eps = 9.7e-6


class IndRNN(nn.Module):
    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.W, self.u = nn.Linear(input_size, hidden_size), nn.Parameter(torch.rand(hidden_size))

    def forward(self, x, h):
        return torch.relu(self.W(x) + self.u * h)


def test_c3_arrays_of_other_cells_are_read():
    assert cells.check(LayerNormLSTM, against="layernorm_lstm").ok
    assert cells.check(IndRNN, against="indrnn").ok
    assert cells.check(torch.jit.script(IndRNN(4, 6)), against="indrnn").ok


def test_c3_an_eps_that_float32_hides_is_found_in_float64():
    result = cells.check(OtherEps, against="layernorm_lstm")
    assert not result.ok and "a constant that is a little off" in result.diagnosis, str(result)


def compiled(module):
    module.compile()
    return module


@pytest.mark.parametrize(
    "make, against",  # torch.compile imports for seconds, which every collection would pay
    [
        (lambda: torch.compile(nn.Sequential(nn.LSTM(5, 7))), "lstm"),
        (lambda: compiled(nn.LSTM(5, 7)), "lstm"),
        (lambda: torch.compile(nn.LSTMCell(5, 7)), "lstm"),
        (lambda: nn.LSTM(5, 7).to(torch.bfloat16), "lstm"),
        (lambda: nn.GRU(5, 7).half(), "gru"),
        (lambda: torch.jit.script(nn.LSTM(5, 7)), "lstm"),
        (lambda: torch.jit.trace(nn.GRU(5, 7), torch.randn(6, 3, 5)), "gru"),
    ],
)
def test_c4_ordinary_modules_are_right(make, against):
    module = make()
    assert cells.check(module, against=against).ok
    with torch.no_grad():
        assert cells.check(module, against=against, steps=3).ok


class States(nn.Module):
    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.W = nn.Linear(input_size, 4 * hidden_size)
        self.R = nn.Linear(hidden_size, 4 * hidden_size, bias=False)

    def forward(self, x, state):
        h, c, n = state
        i, f, z, o = (self.W(x) + self.R(h)).chunk(4, -1)
        c, n = f.sigmoid() * c + i.exp() * z.tanh(), f.sigmoid() * n + i.exp()
        h = o.sigmoid() * c / n
        return h, (h, c, n)


class Apart(nn.Module):
    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.c = nn.GRUCell(input_size, hidden_size)

    def forward(self, x, h, c):
        return self.c(x, h), c


class Raising(Apart):
    def forward(self, x, h):
        raise KeyError("my own error")


class Words(nn.Module):
    """A model of words around its cell."""

    def __init__(self, vocab_size=20, hidden_size=7):
        super().__init__()
        self.embed, self.cell = nn.Embedding(vocab_size, 5), nn.GRUCell(5, hidden_size)

    def forward(self, tokens, h=None):
        return self.cell(self.embed(tokens), h)


def no_arrays(x, h):
    return h


REFUSED = [
    (Words, "gru", "Words takes whole numbers, as a model of words does; check takes its recurrent part"),
    (no_arrays, "gru", "has no arguments or attributes that are arrays of cell 'gru'"),
    (nn.LSTM(5, 7, proj_size=3), "lstm", "has proj_size 3, and cell 'lstm' has no projection"),
    (nn.LSTM(5, 7, num_layers=2), "lstm", "check it --against lstm:layers=2"),
    (nn.GRU(5, 7, bidirectional=True), "gru", "check it --against gru:bidirectional=true"),
    (nn.LSTM(5, 7), "gru", "check it --against lstm"),
    (States, "slstm", "it takes 3 states, and cell 'slstm' has 4 (h, c, n, m)"),
    (Apart, "gru", "takes 2 states (h, c), and cell 'gru' has 1 (h)"),
    (Raising, "gru", "KeyError: 'my own error' (test_check_symptoms.py, line"),
]


@pytest.mark.parametrize("port, against, words", REFUSED)
def test_c4_what_cannot_be_checked_is_one_line_in_plain_words(port, against, words):
    with pytest.raises(ValueError) as caught:
        cells.check(port, against=against)
    assert words in str(caught.value) and "\n" not in str(caught.value)


NAMES = ["num_features, num_units", "n_inputs, n_units", "a, b", "n_in, n_out", "dim, dim_hidden", "a, b, /"]
NAMES += [
    "*, num_units, num_features",
    "units, input_dim",
    "size, width",
    "num_units, input_depth, dropout=0.5",
]


@pytest.mark.parametrize("hidden_first", [False, True])
@pytest.mark.parametrize("names", NAMES)
def test_c5_what_an_argument_of_a_constructor_means_is_tried(names, hidden_first):
    first, second = [n.strip() for n in names.split(",") if n.strip() not in "/*" and "=" not in n]
    sizes = f"{second}, {first}" if hidden_first else f"{first}, {second}"
    scope = {"nn": nn}
    exec(
        f"class Port(nn.Module):\n    def __init__(self, {names}):\n        super().__init__()\n"
        f"        self.c = nn.LSTMCell({sizes})\n    def forward(self, x, hc):\n"
        "        return self.c(x, hc)\n",
        scope,
    )
    assert cells.check(scope["Port"], against="lstm", steps=3).ok


@dataclass
class Settings:
    n_embd: int
    hidden_size: int = 12
    dropout: float = 0.1

    def __post_init__(self):
        if self.hidden_size < 2:
            raise ValueError("too small")


class Configured(nn.Module):
    """Built from a dataclass, as the models of many repositories are."""

    def __init__(self, config: "Settings", *, bias: bool = True):
        super().__init__()
        self.cell = nn.GRUCell(config.n_embd, config.hidden_size, bias=bias)

    def forward(self, x, h):
        return self.cell(x, h)


def test_a_class_that_takes_a_dataclass_of_settings_is_built_with_it():
    assert cells.check(Configured, against="gru", steps=3, input_size=4, hidden_size=9).ok


class Scan(nn.Module):
    """A minGRU by cumulative sums and products."""

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.proj = nn.Linear(input_size, 2 * hidden_size)

    def forward(self, x):
        z, n = self.proj(x).chunk(2, -1)
        kept = torch.cumprod(1 - z.sigmoid(), 0)
        return kept * torch.cumsum(z.sigmoid() * n / kept, 0)


def test_c7_a_scan_that_overflows_is_found():
    result = cells.check(Scan, against="mingru")
    assert not result.ok and "no longer a finite number at step" in result.diagnosis, str(result)


@pytest.mark.parametrize(("kind", "cell"), [("LSTM", "lstm"), ("GRU", "gru"), ("RNN", "elman")])
def test_sums_of_thousands_of_terms_and_one_unit_are_no_deviation_and_a_scaled_output_is(kind, cell):
    given = {"input_size": 4097, "hidden_size": 1, "steps": 11, "dtype": "float32"}

    class Off(getattr(torch.nn, kind)):
        def forward(self, x, h=None):
            output, last = super().forward(x, h)
            return 1.001 * output, last

    assert cells.check(getattr(torch.nn, kind)(4097, 1), cell, **given).ok
    assert not cells.check(Off(4097, 1), cell, **given).ok


class Rectified(nn.Module):
    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.ih, self.hh = nn.Linear(input_size, hidden_size), nn.Linear(hidden_size, hidden_size)

    def forward(self, x, h):
        return torch.relu(self.ih(x) + self.hh(h))


def test_an_activation_of_a_state_is_named_by_the_state_and_not_by_a_line_of_code():
    said = str(cells.check(Rectified, against="elman", steps=5)).splitlines()[0]
    assert "relu where the new h has tanh" in said and "`" not in said
