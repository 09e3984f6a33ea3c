"""Forms in which courses and books write a cell: columns, read-outs, one matrix for all, modules of gates."""

import numpy as np
import pytest
import torch
from torch import nn

from cellbench import cells


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def softmax(a):
    e = np.exp(a - a.max(0))
    return e / e.sum(0)


def course_rnn_step(xt, a_prev, parameters):
    """Columns, a read-out in the step, and a cache."""
    p = parameters
    a_next = np.tanh(p["Wax"] @ xt + p["Waa"] @ a_prev + p["ba"])
    return a_next, softmax(p["Wya"] @ a_next + p["by"]), (a_next, a_prev, xt, p)


def course_rnn(x, a0, parameters):
    """The sequence (I, B, T), whose other arrays show only in the function that it calls."""
    a = np.zeros((parameters["Wya"].shape[1], *x.shape[1:]))
    state = a0
    for t in range(x.shape[2]):
        state, _, _ = course_rnn_step(x[:, :, t], state, parameters)
        a[:, :, t] = state
    return a, None, []


def course_lstm_step(xt, a_prev, c_prev, parameters):
    p, both = parameters, np.concatenate((a_prev, xt), axis=0)
    f, i, o = (sigmoid(p[f"W{k}"] @ both + p[f"b{k}"]) for k in "fio")
    c_next = f * c_prev + i * np.tanh(p["Wc"] @ both + p["bc"])
    a_next = o * np.tanh(c_next)
    return a_next, c_next, softmax(p["Wy"] @ a_next + p["by"]), None


def course_lstm(x, a0, parameters):
    """c starts inside."""
    a = np.zeros((parameters["Wy"].shape[1], *x.shape[1:]))
    state, c = a0, np.zeros_like(a0)
    for t in range(x.shape[2]):
        state, c, _, _ = course_lstm_step(x[:, :, t], state, c, parameters)
        a[:, :, t] = state
    return a, None, c, []


def answering_gru(inputs, state, params):
    """A book's: outputs are answers, below each other."""
    W_xz, W_hz, b_z, W_xr, W_hr, b_r, W_xh, W_hh, b_h, W_hq, b_q = params
    (H,) = state
    outputs = []
    for X in inputs:
        Z = torch.sigmoid((X @ W_xz) + (H @ W_hz) + b_z)
        R = torch.sigmoid((X @ W_xr) + (H @ W_hr) + b_r)
        H = Z * H + (1 - Z) * torch.tanh((X @ W_xh) + ((R * H) @ W_hh) + b_h)
        outputs.append(H @ W_hq + b_q)
    return torch.cat(outputs, dim=0), (H,)


def column_step(x, h, Wxh, Whh, Why, bh, by):
    """One sequence, a column."""
    assert x.shape[1] == h.shape[1] == 1
    h = np.tanh(np.dot(Wxh, x) + np.dot(Whh, h) + bh)
    return h, np.dot(Why, h) + by


class OneMatrix:
    """One matrix takes [1, x, h], and the states come out as (c, h)."""

    @staticmethod
    def forward(X, WLSTM, c0=None, h0=None):
        (n, b, _), d = X.shape, WLSTM.shape[1] // 4
        c = np.zeros((b, d)) if c0 is None else c0
        h = np.zeros((b, d)) if h0 is None else h0
        out = np.zeros((n, b, d))
        for t in range(n):
            a = np.concatenate([np.ones((b, 1)), X[t], h], 1) @ WLSTM
            i, f, g, o = sigmoid(a[:, :d]), sigmoid(a[:, d : 2 * d]), a[:, 2 * d : 3 * d], a[:, 3 * d :]
            c = f * c + i * np.tanh(g)
            h = out[t] = sigmoid(o) * np.tanh(c)
        return out, c, h


class HeldMatrix:
    """The same as an attribute that takes [x, h, 1], and a step."""

    def __init__(self, n_in, n_out):
        self.W = np.random.default_rng(0).normal(size=(n_in + n_out + 1, 4 * n_out)) / 4

    def step(self, x, h, c):
        i, f, g, o = np.split(np.concatenate([x, h, np.ones((len(x), 1))], 1) @ self.W, 4, 1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        return sigmoid(o) * np.tanh(c), c


class Gate(nn.Module):
    def __init__(self, inputs, units, function):
        super().__init__()
        self.linear, self.function = nn.Linear(inputs, units), function

    def forward(self, x):
        return self.function(self.linear(x))


class GateModules(nn.Module):
    """The module says which gate it is; the layer in it says nothing, and one has no telling name."""

    def __init__(self, input_size, hidden_size):
        super().__init__()
        n = input_size + hidden_size
        self.reset_gate, self.update_gate = (Gate(n, hidden_size, torch.sigmoid) for _ in range(2))
        self.last = Gate(n, hidden_size, torch.tanh)

    def forward(self, x, h):
        both = torch.cat((h, x), 1)
        r, z = self.reset_gate(both), self.update_gate(both)
        return z * h + (1 - z) * self.last(torch.cat((r * h, x), 1))


class Sequentials(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        n = inputs + outputs
        self.forget_gate = nn.Sequential(nn.Linear(n, outputs), nn.Sigmoid())
        self.major_gate = nn.Sequential(nn.Linear(n, outputs), nn.Tanh())
        self.input_gate = nn.Sequential(nn.Linear(n, outputs), nn.Sigmoid())
        self.output_gate = nn.Sequential(nn.Linear(n, outputs), nn.Sigmoid())

    def forward(self, x, h, c):
        both = torch.cat([x, h], 1)
        c = self.forget_gate(both) * c + self.input_gate(both) * self.major_gate(both)
        return self.output_gate(both) * torch.tanh(c), c


class Pair(nn.Module):
    def __init__(self, inputs, units):
        super().__init__()
        self.W_x, self.W_h = nn.Linear(inputs, units), nn.Linear(units, units, bias=False)

    def forward(self, x, h):
        return self.W_x(x) + self.W_h(h)


class Pairs(nn.Module):
    """Two layers a gate, which say their side, and their module the gate."""

    def __init__(self, num_inputs, num_hidden):
        super().__init__()
        self._update_gate, self._reset_gate, self._candidate_gate = (
            Pair(num_inputs, num_hidden) for _ in range(3)
        )

    def forward(self, x, h):
        z, r = torch.sigmoid(self._update_gate(x, h)), torch.sigmoid(self._reset_gate(x, h))
        return (1 - z) * torch.tanh(self._candidate_gate(x, r * h)) + z * h


RIGHT = {
    "elman": [course_rnn_step, course_rnn, column_step],
    "lstm": [course_lstm_step, course_lstm, OneMatrix, HeldMatrix, Sequentials],
    "gru_reset_before": [answering_gru, GateModules, Pairs],
}


@pytest.mark.parametrize(
    ("port", "against"), [pytest.param(p, c, id=p.__name__) for c, ports in RIGHT.items() for p in ports]
)
def test_what_is_written_as_courses_and_books_do_is_right(port, against):
    result = cells.check(port, against=against, steps=4)
    assert result.ok, result.diagnosis
    assert "exchanged" not in result.diagnosis


def test_what_was_made_for_a_read_out_and_where_a_state_starts_are_said():
    notes = "\n".join(cells.check(course_lstm, against="lstm", steps=3).notes)
    assert "a read-out was given that hands the state on: Wy, by" in notes
    assert "no initial c is taken: it starts from zero" in notes and "x (I, B, T)" in notes


class TwoGroups(nn.Module):
    """Gates in two arrays of each side, which no name tells apart."""

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.x2h, self.h2h = nn.Linear(input_size, 2 * hidden_size), nn.Linear(hidden_size, 2 * hidden_size)
        self.x2r, self.h2r = nn.Linear(input_size, hidden_size), nn.Linear(hidden_size, hidden_size)

    def forward(self, x, h):
        z, r = torch.sigmoid(self.x2h(x) + self.h2h(h)).chunk(2, -1)
        return z * h + (1 - z) * torch.tanh(self.x2r(x) + r * self.h2r(h))


def test_arrays_of_both_sides_that_are_named_alike_hold_the_same_gates():
    result = cells.check(TwoGroups, against="gru", steps=4)
    assert "read the gates in the order r, z, n" in result.diagnosis


class Oscillators(nn.Module):
    """Another number under the name of the cell's option."""

    def __init__(self, input_size, hidden_size, dt=0.1, alpha=0.0):
        super().__init__()
        self.dt, self.alpha = dt, alpha
        self.weight_ih = nn.Parameter(torch.randn(hidden_size, input_size))
        self.bias_ih = nn.Parameter(torch.zeros(hidden_size))
        self.w, self.c = nn.Parameter(torch.randn(hidden_size)), nn.Parameter(torch.randn(hidden_size))

    def forward(self, x, state):
        h, z = state
        dt = self.dt * torch.sigmoid(self.c)
        z = z - dt * (torch.tanh(self.w * h + x @ self.weight_ih.T + self.bias_ih) + self.alpha * h)
        return h + dt * z, z


class OldMemory(nn.Module):
    """The output is computed from the state before, and gates come in two arrays of the recurrent side."""

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.weight_ih = nn.Parameter(torch.randn(4 * hidden_size, input_size) / 3)
        self.weight_hh = nn.Parameter(torch.randn(3 * hidden_size, hidden_size) / 3)
        self.weight_ch = nn.Parameter(torch.randn(hidden_size, hidden_size) / 3)
        self.bias_ih = nn.Parameter(torch.randn(4 * hidden_size))
        self.bias_hh = nn.Parameter(torch.randn(3 * hidden_size))
        self.bias_ch = nn.Parameter(torch.randn(hidden_size))

    def forward(self, x, state):
        y, z = state
        x1, x2, x3, x4 = (x @ self.weight_ih.T + self.bias_ih).chunk(4, 1)
        h1, h2, h3 = (y @ self.weight_hh.T + self.bias_hh).chunk(3, 1)
        a, b = torch.sigmoid(x1 + h1), torch.sigmoid(x2 + h2)
        y = (1 - b) * y + b * torch.tanh(x4 + z @ self.weight_ch.T + self.bias_ch)
        return y, (1 - a) * z + a * torch.tanh(x3 + h3)


class OldPeephole(nn.Module):
    """Gate o sees the memory before, and the three peepholes are one array."""

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.weight_ih = nn.Parameter(torch.randn(4 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.randn(4 * hidden_size, hidden_size))
        self.weight_ph = nn.Parameter(torch.randn(3 * hidden_size))
        self.bias_ih = nn.Parameter(torch.randn(4 * hidden_size))

    def forward(self, x, state):
        h, c = state
        pi, pf, po = self.weight_ph.chunk(3)
        i, f, g, o = (x @ self.weight_ih.T + self.bias_ih + h @ self.weight_hh.T).chunk(4, 1)
        new = torch.sigmoid(f + pf * c) * c + torch.sigmoid(i + pi * c) * torch.tanh(g)
        return torch.sigmoid(o + po * c) * torch.tanh(new), new


class NewPeephole(OldPeephole):
    def forward(self, x, state):
        h, c = state
        pi, pf, po = self.weight_ph.chunk(3)
        i, f, g, o = (x @ self.weight_ih.T + self.bias_ih + h @ self.weight_hh.T).chunk(4, 1)
        c = torch.sigmoid(f + pf * c) * c + torch.sigmoid(i + pi * c) * torch.tanh(g)
        return torch.sigmoid(o + po * c) * torch.tanh(c), c


@pytest.mark.parametrize(
    ("port", "against", "words"),
    [
        (Oscillators, "unicornn", "check it --against unicornn:dt=0.1:alpha=0"),
        (
            OldMemory,
            "lem",
            "the old z where `y = (1 - b) * prev.y + b * tanh(wx.y + wh.y(z))` has the new one",
        ),
        (OldPeephole, "peephole_lstm", "the old c where `o = sigmoid("),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_an_option_and_an_old_state_are_named(port, against, words):
    result = cells.check(port, against=against, steps=4)
    assert not result.ok and words in result.diagnosis, result.diagnosis


def test_the_mend_of_an_old_state_makes_it_right():
    assert cells.check(NewPeephole, against="peephole_lstm", steps=4).ok


class Layers(nn.Module):
    """A layer whose state has an axis of layers, over which an array without that axis would be spread."""

    def __init__(self, input_size, hidden_size, num_layers=1, batch_first=False):
        super().__init__()
        self.batch_first = batch_first
        sizes = [input_size, *[hidden_size] * (num_layers - 1)]
        self.cells = nn.ModuleList(nn.GRUCell(size, hidden_size) for size in sizes)

    def forward(self, inp, state=None):
        if self.batch_first:
            inp = inp.transpose(0, 1)
        seq_len, batch, _ = inp.size()
        if state is None:
            state = inp.new_zeros(len(self.cells), batch, self.cells[0].hidden_size)
        outputs = []
        for t in range(seq_len):
            x, new = inp[t], []
            for cell, h in zip(self.cells, state, strict=False):
                x = cell(x, h.expand(batch, -1))
                new.append(x)
            state = torch.stack(new)
            outputs.append(x)
        out = torch.stack(outputs)
        return (out.transpose(0, 1) if self.batch_first else out), state


def test_a_state_that_was_spread_by_chance_is_not_taken_for_the_form():
    result = cells.check(Layers, against="gru", steps=4)
    assert result.ok, result.diagnosis
    assert any("x (T, B, I)" in note for note in result.notes)
    assert cells.check(Layers(5, 7, batch_first=True), against="gru", steps=4).ok


class Zoneout(nn.Module):
    """In eval mode, where a part of the old states is kept."""

    def __init__(self, input_size, hidden_size, keep_h=0.15, keep_c=0.05):
        super().__init__()
        self.cell, self.keep = nn.LSTMCell(input_size, hidden_size), (keep_h, keep_c)

    def forward(self, x, state):
        new = self.cell(x, state)
        return tuple(k * old + (1 - k) * value for k, old, value in zip(self.keep, state, new, strict=True))


def test_a_part_of_the_old_state_is_told_with_its_size():
    result = cells.check(Zoneout, against="lstm", steps=4)
    assert "keeps 0.15 of the old h and 0.05 of the old c in each step, as zoneout does" in result.diagnosis
    assert cells.check(Zoneout(5, 7, 0.0, 0.0), against="lstm", steps=4).ok


def single_gru(params, h, x):
    """It computes in float32, whatever it is given, as JAX does; x comes last."""
    h, x = np.asarray(h, np.float32), np.asarray(x, np.float32)
    z = single(x @ params["Wz"] + h @ params["Uz"] + params["bz"])
    r = single(x @ params["Wr"] + h @ params["Ur"] + params["br"])
    n = single(2 * (x @ params["Wh"] + (r * h) @ params["Uh"] + params["bh"])) * 2 - 1
    h = (z * h + (1 - z) * n).astype(np.float32)
    return h, h


def single(a):
    return sigmoid(np.asarray(a, np.float32))


def test_what_computes_in_float32_is_held_to_the_tolerance_of_float32():
    result = cells.check(single_gru, against="gru_reset_before", steps=4)
    assert result.ok, result.diagnosis
    assert any("float32" in note for note in result.notes)


class Layer:
    def __init__(self, inputs, units, seed):
        self.W = np.random.default_rng(seed).normal(size=(inputs, units)) / 3
        self.b = np.zeros(units)

    def __call__(self, x):
        return x @ self.W + self.b


class Objects:
    """Its arrays lie in objects of a class of its own, and those in a list."""

    def __init__(self, input_size, hidden_size):
        n = input_size + hidden_size
        self.forget_gate, self.input_gate = Layer(n, hidden_size, 0), Layer(n, hidden_size, 1)
        self.others = [Layer(n, hidden_size, 2), Layer(n, hidden_size, 3)]

    def step(self, x, h, c):
        both = np.concatenate([x, h], 1)
        candidate, out = self.others
        c = sigmoid(self.forget_gate(both)) * c + sigmoid(self.input_gate(both)) * np.tanh(candidate(both))
        return sigmoid(out(both)) * np.tanh(c), c


class OneBiasMore:
    """One bias of all gates, and one beside the recurrent product of n."""

    def __init__(self, input_size, hidden_size):
        rng = np.random.default_rng(0)
        self.weight_ih = rng.normal(size=(3 * hidden_size, input_size)) / 3
        self.weight_hh = rng.normal(size=(3 * hidden_size, hidden_size)) / 3
        self.bias, self.bias_n = rng.normal(size=3 * hidden_size), rng.normal(size=hidden_size)

    def __call__(self, input, hidden):
        i, h = np.split(self.weight_ih @ input + self.bias, 3), np.split(self.weight_hh @ hidden, 3)
        r, z = sigmoid(i[0] + h[0]), sigmoid(i[1] + h[1])
        n = np.tanh(i[2] + r * (h[2] + self.bias_n))
        return n + z * (hidden - n)


@pytest.mark.parametrize(("port", "against"), [(Objects, "lstm"), (OneBiasMore, "gru")])
def test_arrays_are_found_in_objects_and_biases_in_any_part(port, against):
    result = cells.check(port, against=against, steps=4)
    assert result.ok, result.diagnosis


class TwoOfOne(nn.Module):
    """JANET as it is often written: h and c, which are the same."""

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.x, self.h = nn.Linear(input_size, 2 * hidden_size), nn.Linear(hidden_size, 2 * hidden_size)

    def forward(self, input, state):
        h, c = state
        f, g = (self.x(input) + self.h(h)).chunk(2, 1)
        c = torch.sigmoid(f) * c + (1 - torch.sigmoid(f - 1)) * torch.tanh(g)
        return c, (c, c)


def test_two_states_that_are_the_same_are_one():
    result = cells.check(TwoOfOne, against="janet", steps=4)
    assert result.ok, result.diagnosis
    assert any("its two states are given as one, h" in note for note in result.notes)
