"""What `check` answers: wrong ports that were called right, differences together, and the sentence."""

import random

import numpy as np
import pytest
import torch
from torch import nn

from cellbench import cells


class Stepped(nn.Module):
    """A torch cell over a sequence, from a first state of its own where none is given."""

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.c, self.H = nn.GRUCell(input_size, hidden_size), hidden_size

    def start(self, x):
        return x.new_zeros(x.shape[1], self.H)

    def forward(self, x, h=None):
        h = self.start(x) if h is None else h
        out = []
        for t in x:
            h = self.c(t, h)
            out.append(h)
        return torch.stack(out), h


class RandomH0(Stepped):
    def start(self, x):
        return torch.randn(x.shape[1], self.H)


class Ones(Stepped):
    def start(self, x):
        return x.new_ones(x.shape[1], self.H)


class OtherAxis(Stepped):
    def start(self, x):
        return x.new_zeros(x.shape[0], self.H)


class Learned(Stepped):
    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.h0 = nn.Parameter(torch.randn(hidden_size))

    def start(self, x):
        return self.h0.expand(x.shape[1], -1)


class Kept(Stepped):
    kept = None

    def forward(self, x, h=None):
        out, last = super().forward(x, self.kept if h is None else h)
        self.kept = last.detach()
        return out, last


def test_zeros_where_no_state_is_given_are_right():
    result = cells.check(Stepped, against="gru")
    assert result.ok and result.diagnosis.startswith("right: outputs, states and gradients")
    assert "over 176 steps" in result.diagnosis


@pytest.mark.parametrize(
    "port, words",
    [
        (RandomH0, "draws random numbers"),
        (Ones, "starts from a state of 1"),
        (OtherAxis, "where no state is given: it fails"),
        (Learned, "starts from its own first state (h0)"),
        (Kept, "starts from the state that the call before left"),
    ],
)
def test_a_state_left_out_that_is_not_zeros_is_not_right(port, words):
    result = cells.check(port, against="gru")
    assert not result.ok and words in result.diagnosis, str(result)


def gru_step(x, h, weight_ih, weight_hh, bias_ih, bias_hh):
    (xr, xz, xn), (hr, hz, hn) = (
        np.split(x @ weight_ih.T + bias_ih, 3, -1),
        np.split(h @ weight_hh.T + bias_hh, 3, -1),
    )
    r, z = 1 / (1 + np.exp(-xr - hr)), 1 / (1 + np.exp(-xz - hz))
    return (1 - z) * np.tanh(xn + r * hn) + z * h


@pytest.mark.parametrize("name", ["x", "h", "weight_hh"])
def test_what_a_port_changes_in_place_is_named(name):
    """Two calls then differ, and that was taken for random numbers."""

    def step(x, h, weight_ih, weight_hh, bias_ih, bias_hh):
        result = gru_step(x, h, weight_ih, weight_hh, bias_ih, bias_hh)
        locals()[name][:] = 0
        return result

    with pytest.raises(ValueError, match=rf"^step changes (state )?{name} in place, .*; compute on a copy$"):
        cells.check(step, against="gru")
    assert cells.check(gru_step, against="gru").ok


def test_a_module_that_changes_its_input_in_place_is_refused_and_one_that_changes_a_mean_is_not():
    class Module(nn.Module):
        def __init__(self, input_size, hidden_size):
            super().__init__()
            self.gru = nn.GRU(input_size, hidden_size)
            self.register_buffer("mean", torch.zeros(1))

        def forward(self, x, h=None):
            out = self.gru(x, h)
            self.mean += x.mean().detach()
            return out

    class Zeroes(Module):
        def forward(self, x, h=None):
            out = super().forward(x, h)
            x.mul_(0)
            return out

    assert cells.check(Module, against="gru").ok
    with pytest.raises(ValueError, match="Zeroes changes x in place"):
        cells.check(Zeroes, against="gru")


@pytest.mark.parametrize("form", ["a step less", "a dict"])
def test_a_sequence_that_returns_another_thing_is_told_what_it_returned(form):
    class Other(nn.Module):
        def __init__(self, input_size, hidden_size):
            super().__init__()
            self.gru = nn.GRU(input_size, hidden_size)

        def forward(self, x, h=None):
            y, h = self.gru(x, h)
            return {"y": y, "h": h} if form == "a dict" else (y[:-1], h)

    with pytest.raises(
        ValueError, match=r"tried as a sequence, x \(T, B, I\): it returned .*must return outputs"
    ):
        cells.check(Other, against="gru")


def test_a_gru_without_b_hn_is_not_right_where_two_biases_were_asked_for():
    class NoBhn(nn.Module):
        def __init__(self, input_size, hidden_size):
            super().__init__()
            self.x = nn.Linear(input_size, 3 * hidden_size)
            self.h = nn.Linear(hidden_size, 3 * hidden_size, bias=False)

        def forward(self, x, h):
            (xr, xz, xn), (hr, hz, hn) = self.x(x).chunk(3, -1), self.h(h).chunk(3, -1)
            r, z = torch.sigmoid(xr + hr), torch.sigmoid(xz + hz)
            return (1 - z) * torch.tanh(xn + r * hn) + z * h

    asked = cells.check(NoBhn, against="gru:biases=2")
    assert not asked.ok and "has no b_hn" in asked.diagnosis and asked.first is not None
    unsaid = cells.check(NoBhn, against="gru")
    assert unsaid.ok and any("no b_hn" in note for note in unsaid.notes)


def test_two_biases_that_are_one_sum_are_no_difference():
    def step(x, h, W, U, b):
        return np.tanh(x @ W.T + h @ U.T + b)

    assert cells.check(step, against="elman:biases=2").ok


class Overflows(nn.Module):
    """An IndRNN whose outputs overflow from step 96 on, as those of a scan by cumulative sums do."""

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.weight_ih = nn.Parameter(torch.rand(hidden_size, input_size))
        self.bias_ih, self.u = nn.Parameter(torch.rand(hidden_size)), nn.Parameter(torch.rand(hidden_size))

    def forward(self, x):
        out, h = [], x.new_zeros(x.shape[1], len(self.u))
        for t, x_t in enumerate(x):
            h = torch.relu(x_t @ self.weight_ih.T + self.bias_ih + self.u * h)
            out.append(h if t < 96 else h * torch.inf)
        return torch.stack(out)


def test_a_scan_that_overflows_after_many_steps_is_found_at_its_step():
    result = cells.check(Overflows, against="indrnn")
    assert not result.ok and result.first.step == 96 and "finite number at step 96" in result.diagnosis


FORMS = {
    "1 added": lambda a: torch.sigmoid(a + 1),
    "1 - {}": lambda a: 1 - torch.sigmoid(a),
    "hard sigmoid (0.2": lambda a: (0.2 * a + 0.5).clamp(0, 1),
    "hard sigmoid (a / 6": torch.nn.functional.hardsigmoid,
}
# sigmoid is left out: with it an LSTM's i and g are alike, and two orders are right
CANDIDATES = {"relu where": torch.relu, "softsign": nn.functional.softsign}


def lstm(order, f_form, o_form, candidate):
    class Port(nn.Module):
        def __init__(self, input_size, hidden_size):
            super().__init__()
            H = hidden_size
            self.weight_ih = nn.Parameter(torch.randn(4 * H, input_size))
            self.weight_hh = nn.Parameter(torch.randn(4 * H, H))
            self.bias_ih = nn.Parameter(torch.randn(4 * H))
            self.bias_hh = nn.Parameter(torch.randn(4 * H))

        def forward(self, x, state):
            h, c = state
            rows = x @ self.weight_ih.T + self.bias_ih + h @ self.weight_hh.T + self.bias_hh
            a = dict(zip(order, rows.chunk(4, 1), strict=True))
            c = f_form(a["f"]) * c + torch.sigmoid(a["i"]) * candidate(a["g"])
            return o_form(a["o"]) * torch.tanh(c), c

    return Port


def gru(order, r_form, z_form, candidate):
    def port(x, h, weight_ih, weight_hh, bias_ih, bias_hh):
        wx = dict(zip(order, torch.nn.functional.linear(x, weight_ih, bias_ih).chunk(3, 1), strict=True))
        wh = dict(zip(order, torch.nn.functional.linear(h, weight_hh, bias_hh).chunk(3, 1), strict=True))
        r, z = r_form(wx["r"] + wh["r"]), z_form(wx["z"] + wh["z"])
        return (1 - z) * candidate(wx["n"] + r * wh["n"]) + z * h

    return port


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name, build", [("lstm", lstm), ("gru", gru)])
def test_four_differences_at_once_are_all_named(name, build, seed):
    rng = random.Random(seed)
    gates = cells.get(name).gates
    order = rng.choice([gates[::-1], (*gates[1:], gates[0]), (gates[1], gates[0], *gates[2:])])
    first, second = rng.sample(list(FORMS), 2)
    candidate = rng.choice(list(CANDIDATES))
    port = build(order, FORMS[first], FORMS[second], CANDIDATES[candidate])
    result = cells.check(port, against=name)
    assert not result.ok and f"gate order {', '.join(order)}" in result.diagnosis, str(result)
    for words in (first, second, candidate):
        assert words.replace("{}", "") in result.diagnosis, (words, result.diagnosis)
