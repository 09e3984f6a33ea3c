"""Single sequences of different length: they are joined for speed, and nothing else is changed by that."""

import numpy as np
import pytest
import torch
from support.comparison import WHOLE
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss

from cellbench.harness.gradients import diagnose
from cellbench.harness.gradients.module import joining
from cellbench.harness.gradients.module.replay import Replay


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


class Last(nn.Module):
    def __init__(self, kind=nn.LSTM, **options):
        super().__init__()
        self.rnn = kind(3, 5, batch_first=True, **options)
        self.out = nn.Linear(10 if options.get("bidirectional") else 5, 2)

    def forward(self, x):
        return self.out(self.rnn(x)[0][:, -1])


class Every(Last):
    def forward(self, x):
        return self.out(self.rnn(x)[0])


class State(Last):
    def forward(self, x):
        h = self.rnn(x)[1]
        return self.out(torch.cat(list(h), 1))


class TimeFirst(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.rnn, self.out = nn.Embedding(9, 3), nn.GRU(3, 5), nn.Linear(5, 2)

    def forward(self, x):
        return self.out(self.rnn(self.embed(x))[0])


class Cell(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell, self.out = nn.LSTMCell(3, 5), nn.Linear(5, 2)

    def forward(self, x):
        state = None
        for t in range(x.shape[1]):
            state = self.cell(x[:, t], state)
        return self.out(state[0])


class OwnCell(nn.Module):
    def __init__(self):
        super().__init__()
        self.w, self.u = nn.Linear(3, 5), nn.Linear(5, 5)

    def forward(self, x, h):
        return torch.tanh(self.w(x) + self.u(h))


class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell, self.out = OwnCell(), nn.Linear(5, 2)

    def forward(self, x):
        h = x.new_zeros(len(x), 5)
        for t in range(x.shape[1]):
            h = self.cell(x[:, t], h)
        return self.out(h)


class Step(nn.Module):
    """From (x_t, state) to (output, state)."""

    def __init__(self):
        super().__init__()
        self.cell, self.out = nn.GRUCell(3, 5), nn.Linear(5, 2)

    def forward(self, x, state):
        state = self.cell(x, state)
        return self.out(state), state


class Pooled(Last):
    def forward(self, x):
        return self.out(self.rnn(x)[0].mean(1))


STEPS = torch.randint(6, 20, (40,), generator=torch.Generator().manual_seed(0)).tolist()


def flat(o, y):
    return cross_entropy(o.flatten(0, 1), y.flatten(), weight=torch.tensor([1.0, 3.0]).to(o))


def plain(t):
    return torch.randn(1, t, 3), torch.randn(1, 2)


def stepwise(t):
    return torch.randn(1, t, 3), torch.randint(2, (1, t))


def words(t):
    return torch.randint(9, (t, 1)), torch.randint(2, (t, 1))


CASES = {
    "last": (Last, mse_loss, plain),
    "two layers": (lambda: Last(nn.GRU, num_layers=2), mse_loss, plain),
    "both directions": (lambda: State(nn.GRU, bidirectional=True), mse_loss, plain),
    "every step": (lambda: Every(nn.GRU, bidirectional=True), flat, stepwise),
    "time first": (TimeFirst, flat, words),
    "cell": (Cell, mse_loss, plain),
    "own cell": (Own, mse_loss, plain),
    "step": (Step, mse_loss, lambda t: (torch.randn(t, 1, 3), torch.randn(1, 2))),
}


@pytest.mark.parametrize("name", CASES if WHOLE else [*CASES][::2])
def test_joined_sequences_are_diagnosed_as_each_alone(name, monkeypatch):
    make, loss, drawn = CASES[name]
    model, batches = make(), [drawn(t) for t in STEPS]
    passes = []
    record = Replay.record
    monkeypatch.setattr(Replay, "record", lambda self, x: passes.append(x) or record(self, x))
    found = diagnose(model, loss, batches)
    joined_passes = len(passes)
    monkeypatch.setattr(joining, "find_lengths", lambda *_: None)
    monkeypatch.setattr(joining, "_axis", lambda *_: None)
    alone = diagnose(model, loss, batches)
    assert joined_passes < 8 and len(passes) - joined_passes >= 40
    assert np.isclose(found.loss, alone.loss) and np.isclose(
        found.trivial_loss, alone.trivial_loss, rtol=1e-3
    )
    if name not in ("every step", "time first"):  # there the positions that are looked at are others
        for k in range(max(STEPS)):
            ours, theirs = (np.sort(a[k][~np.isnan(a[k])]) for a in (found.log_norm, alone.log_norm))
            assert ours.shape == theirs.shape and np.allclose(ours, theirs, rtol=1e-7, atol=1e-7)
        assert np.allclose(found.recoverable, alone.recoverable, atol=1e-6)
        assert np.isclose(found.gradient_norm, alone.gradient_norm)
        assert np.isclose(found.saturation, alone.saturation, atol=0.01)


def test_a_model_that_looks_at_all_steps_together_is_not_joined():
    model, batches = Pooled(), [(torch.randn(1, t, 3), torch.randn(1, 2)) for t in STEPS]
    with torch.no_grad():
        expected = np.mean([float(mse_loss(model(x), y)) for x, y in batches])
    assert np.isclose(diagnose(model, mse_loss, batches).loss, expected, rtol=1e-5)


def test_swapped_inputs_of_joined_sequences_have_the_same_lag():
    """The answer is the input of the step before the last."""

    class Delays(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.RNN(1, 2, nonlinearity="relu", batch_first=True, bias=False)
            with torch.no_grad():
                self.rnn.weight_ih_l0.copy_(torch.tensor([[1.0], [0.0]]))
                self.rnn.weight_hh_l0.copy_(torch.tensor([[0.0, 0.0], [1.0, 0.0]]))

        def forward(self, x):
            return self.rnn(x)[0][:, -1, 1:]

    xs = [torch.rand(1, t, 1) for t in STEPS * 6]
    found = diagnose(Delays(), mse_loss, [(x, x[:, -2] + 0.1) for x in xs])
    assert np.isclose(found.swap[1], 2 / 12, rtol=0.2)
    assert np.allclose(found.swap[[0, 2, 3, 10]], 0, atol=1e-9)


@pytest.mark.parametrize("make", [Cell, Last, TimeFirst])
def test_a_sequence_is_counted_as_one_sample_whatever_its_length(make):
    drawn = words if make is TimeFirst else plain
    loss = flat if make is TimeFirst else mse_loss
    found = diagnose(make(), loss, [drawn(t) for t in STEPS], samples=30)
    assert found.samples == 30
