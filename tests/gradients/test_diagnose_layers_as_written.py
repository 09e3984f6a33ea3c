"""Layers, states and outputs as people write them, each against float64 autograd on the model itself."""

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, dropout, gaussian_nll_loss, mse_loss
from torch.nn.utils import parametrizations
from torch.nn.utils.rnn import pack_padded_sequence

from cellbench.harness.gradients import diagnose

LENGTHS = torch.tensor([7, 3, 5, 1] * 4)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture
def batch():
    return torch.randn(16, 7, 3), torch.randn(16, 2)


def reach_of(model, x, y, read=lambda o: o, loss=mse_loss, call=lambda m, v: m(v)):
    """log |d loss_i / d x_t| by lag, (T, B), of a mean loss over samples, batch first."""
    twin = copy.deepcopy(model).double().eval()
    leaf = x.double().requires_grad_()
    total = loss(read(call(twin, leaf)), y.double()) * len(y)
    (d_x,) = torch.autograd.grad(total, leaf)
    return d_x.norm(dim=-1).log().T.flip(0).numpy()


def close(found, expected):
    return np.allclose(found.log_reach, expected, rtol=1e-6, atol=1e-6)


class Net(nn.Module):
    def __init__(self, kind=nn.LSTM, **options):
        super().__init__()
        self.rnn, self.out = kind(3, 5, batch_first=True, **options), nn.Linear(5, 2)

    def forward(self, x):
        return self.out(self.rnn(x)[0][:, -1])


class Tuple(Net):
    def forward(self, x):
        y, state = self.rnn(x)
        return state, self.out(y[:, -1])


class Dict(Net):
    def forward(self, x):
        y, state = self.rnn(x)
        return {"state": state, "answer": self.out(y[:, -1])}


@dataclass
class Answer:
    hidden: Any
    scores: torch.Tensor


class Object(Net):
    def forward(self, x):
        y, state = self.rnn(x)
        return Answer(state, self.out(y[:, -1]))


@pytest.mark.parametrize(
    ("model", "read"),
    [
        (Tuple, lambda o: o[1]),
        (Dict, lambda o: o["answer"]),
        (Object, lambda o: o.scores),
    ],
)
def test_a_loss_may_take_what_the_model_returned(batch, model, read):
    model = model()
    found = diagnose(model, lambda o, y: mse_loss(read(o), y), [batch])
    assert close(found, reach_of(model, *batch, read))
    with torch.no_grad():
        assert np.isclose(found.loss, float(mse_loss(read(model(batch[0])), batch[1])), rtol=1e-5)


def test_a_loss_of_two_returned_tensors_sees_the_gradient_of_both(batch):
    class Gauss(Net):
        def forward(self, x):
            y = super().forward(x)
            return y[:, :1], y[:, 1:]

    def likelihood(o, y):
        return gaussian_nll_loss(o[0], y[:, :1], o[1].exp())

    model = Gauss()
    assert close(diagnose(model, likelihood, [batch]), reach_of(model, *batch, loss=likelihood))


def packed(x):
    return pack_padded_sequence(x, LENGTHS, batch_first=True, enforce_sorted=False)


class TakesPacked(Net):
    def forward(self, sequence):
        return self.out(self.rnn(sequence)[1][0][-1])


class GivesPacked(Net):
    def forward(self, sequence):
        y, _ = self.rnn(sequence)
        return y._replace(data=self.out(y.data))


class GivesData(Net):
    def forward(self, x):
        return self.out(self.rnn(packed(x))[0].data)


def test_a_packed_sequence_may_be_given(batch):
    (x, y), model = batch, TakesPacked()
    found = diagnose(model, mse_loss, [(packed(x), y)])
    for b, n in enumerate(LENGTHS.tolist()):
        alone = reach_of(model, x[b : b + 1, :n], y[b : b + 1], call=lambda m, v: m(v))[:, 0]
        assert np.allclose(found.log_reach[:n, b], alone, rtol=1e-6, atol=1e-6)


def test_packed_outputs_against_packed_targets_have_the_loss_of_every_step(batch):
    (x, _), y = batch, torch.randn(16, 7, 2)
    model = GivesPacked()
    found = diagnose(model, lambda o, t: mse_loss(o.data, t.data), [(packed(x), packed(y))])
    with torch.no_grad():
        expected = float(mse_loss(model(packed(x)).data, packed(y).data))
    assert np.isclose(found.loss, expected, rtol=1e-5)
    flat = GivesData()
    flat.load_state_dict(model.state_dict())
    other = diagnose(flat, mse_loss, [(x, packed(y).data)])
    assert np.isclose(other.loss, expected, rtol=1e-5)
    assert np.array_equal(np.isnan(found.log_norm), np.isnan(other.log_norm))
    assert np.allclose(np.nan_to_num(found.log_norm), np.nan_to_num(other.log_norm))


class WeightDrop(nn.Module):
    """The recurrent weights are made anew from raw ones in every call (Merity et al. 2017)."""

    def __init__(self):
        super().__init__()
        self.rnn, self.out = nn.LSTM(3, 5, batch_first=True), nn.Linear(5, 2)
        self.raw = nn.Parameter(self.rnn.weight_hh_l0.detach().clone())
        del self.rnn._parameters["weight_hh_l0"]
        self.rnn.weight_hh_l0 = self.raw * 1
        self.rnn.flatten_parameters = lambda: None

    def forward(self, x):
        self.rnn.weight_hh_l0 = dropout(self.raw, 0.5, self.training)
        return self.out(self.rnn(x)[0][:, -1])


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize(
    "wrap", [parametrizations.weight_norm, parametrizations.spectral_norm, nn.utils.weight_norm]
)
def test_normed_weights_are_those_that_the_model_computes_with(batch, wrap):
    model = Net(nn.GRU)
    wrap(model.rnn, "weight_hh_l0")
    found = diagnose(model, mse_loss, [batch])
    with torch.no_grad():
        expected = float(mse_loss(model.eval()(batch[0]), batch[1]))
    assert np.isclose(found.loss, expected, rtol=1e-5) and found.gradient_norm > 0
    plain = Net(nn.GRU)
    plain.out = model.out
    with torch.no_grad():
        for name, p in plain.rnn.named_parameters():
            p.copy_(getattr(model.rnn, name))
    assert close(found, reach_of(plain, *batch))


def test_a_weight_drop_is_diagnosed_after_a_call_of_training(batch):
    model = WeightDrop()
    model(batch[0])
    found = diagnose(model, mse_loss, [batch])
    plain = Net()
    plain.rnn.weight_hh_l0 = model.raw
    plain.load_state_dict(
        {k: v for k, v in model.state_dict().items() if k != "raw"} | {"rnn.weight_hh_l0": model.raw}
    )
    assert close(found, reach_of(plain, *batch))


def traced(model):
    return torch.jit.trace(model.eval(), torch.randn(16, 7, 3))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("script", [torch.jit.script, traced])
def test_a_scripted_module_is_diagnosed_at_its_input_and_what_is_missing_is_said(batch, script):
    model = Net()
    found = diagnose(script(model), mse_loss, [batch])
    assert np.allclose(found.log_reach, reach_of(model, *batch), rtol=1e-3, atol=1e-3)  # traced: in float32
    assert np.isnan(found.gradient_norm) and "scripted" in str(found)


class Loops(nn.Module):
    """A layer that loops inside, with a state that may be given."""

    def __init__(self):
        super().__init__()
        self.w, self.u = nn.Linear(3, 5), nn.Linear(5, 5)

    def forward(self, x, h):
        out = []
        for x_t in x.unbind(1):
            h = torch.tanh(self.w(x_t) + self.u(h))
            out.append(h)
        return torch.stack(out, 1), h


class HoldsLoop(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.out = Loops(), nn.Linear(5, 2)

    def forward(self, x, hx):
        return self.out(self.layer(x, hx)[0][:, -1])


def test_a_layer_that_loops_inside_is_named_and_given_its_state(batch):
    model, ones = HoldsLoop(), lambda n: torch.ones(n, 5)
    expected = reach_of(model, *batch, call=lambda m, v: m(v, ones(16).double()))
    assert close(diagnose(model, mse_loss, [batch], state=ones, recurrent="layer"), expected)


class Resets(Net):
    """Makes its state anew in every call, and keeps it."""

    def forward(self, x):
        self.hidden = tuple(torch.zeros(1, len(x), 5) for _ in range(2))
        y, self.hidden = self.rnn(x, self.hidden)
        return self.out(y[:, -1])


class Autocasts(Net):
    def forward(self, x):
        with torch.autocast("cpu", torch.bfloat16):
            return super().forward(x).float()


@pytest.mark.parametrize(("kind", "close_by"), [(Resets, 1e-6), (Autocasts, 0.2)])
def test_a_state_reset_and_an_autocast_inside_the_model_are_taken(batch, kind, close_by):
    model = kind()
    plain = Net()
    plain.load_state_dict(model.state_dict())
    found = diagnose(model, mse_loss, [batch])
    assert np.allclose(found.log_reach, reach_of(plain, *batch), rtol=close_by, atol=close_by)


class PadsOnly(Net):
    def forward(self, x, lengths):
        return self.out(self.rnn(x)[0][torch.arange(len(x)), lengths - 1])


def test_padding_that_is_not_packed_away_is_no_dead_read_out(batch):
    (x, y), model = batch, PadsOnly()
    found = diagnose(model, mse_loss, [(x, LENGTHS, y)])
    assert found.verdict.label != "DEAD READ-OUT"
    for b, n in enumerate(LENGTHS.tolist()):
        alone = reach_of(
            model, x[b : b + 1, :n], y[b : b + 1], call=lambda m, v, n=n: m(v, torch.tensor([n]))
        )
        assert np.allclose(found.log_reach[:n, b], alone[:, 0], rtol=1e-6, atol=1e-6)
        assert np.isnan(found.log_reach[n:, b]).all()


def test_a_swap_behind_padding_costs_what_the_input_at_that_lag_is_worth():
    """The answer is the input two steps before each sequence's own end."""

    class Shifts(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.RNN(1, 3, nonlinearity="relu", batch_first=True, bias=False)
            with torch.no_grad():
                self.rnn.weight_ih_l0.copy_(torch.tensor([[1.0], [0.0], [0.0]]))
                self.rnn.weight_hh_l0.copy_(torch.eye(3).roll(1, 0) * torch.tensor([1.0, 1.0, 0.0]))

        def forward(self, x, lengths):
            return self.rnn(x)[0][torch.arange(len(x)), lengths - 1, 2:]

    x, lengths = torch.rand(256, 9, 1), torch.randint(4, 10, (256,))
    y = x[torch.arange(256), lengths - 3] + 0.1  # a residual, without which no step has a gradient
    found = diagnose(Shifts(), mse_loss, [(x, lengths, y)])
    assert np.isclose(found.swap[2], 2 / 12, rtol=0.2)  # twice the variance of a uniform number
    assert np.allclose(np.delete(found.swap, 2), 0, atol=1e-9)


class Unbatched(Net):
    def forward(self, x):
        return self.out(self.rnn(x)[0][-1])


class UnbatchedSteps(Net):
    def forward(self, x):
        return self.out(self.rnn(x)[0])


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_a_sequence_without_an_axis_of_samples_is_one_sample(kind):
    model, pairs = Unbatched(kind), [(torch.randn(t, 3), torch.randn(2)) for t in (5, 6, 7) * 4]
    found = diagnose(model, mse_loss, pairs)
    for b, (x, y) in enumerate(sorted(pairs, key=lambda p: len(p[0]))):
        twin = copy.deepcopy(model).double()
        leaf = x.double().requires_grad_()
        (d_x,) = torch.autograd.grad(mse_loss(twin(leaf), y.double()), leaf)
        expected = d_x.norm(dim=-1).log().flip(0).numpy()
        columns = found.log_reach[: len(x)]
        assert any(np.allclose(c, expected, rtol=1e-6, atol=1e-6) for c in columns.T), b


def test_a_sequence_without_an_axis_of_samples_may_have_an_output_for_every_step():
    model, pairs = UnbatchedSteps(), [(torch.randn(t, 3), torch.randint(2, (t,))) for t in (5, 6, 7) * 8]
    found = diagnose(model, cross_entropy, pairs)
    with torch.no_grad():
        expected = np.mean([float(cross_entropy(model(x), y)) for x, y in pairs])
    assert np.isclose(found.loss, expected, rtol=1e-5) and found.samples == 24


@pytest.mark.parametrize("time_first", [True, False])
def test_steps_and_samples_in_one_axis_are_told_apart(time_first):
    class Flat(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.out = nn.GRU(3, 5, batch_first=not time_first), nn.Linear(5, 2)

        def forward(self, x):
            return self.out(self.rnn(x)[0].reshape(-1, 5))

    class Apart(Flat):
        def forward(self, x):
            return self.out(self.rnn(x)[0])

    x, y = torch.randn(7, 16, 3), torch.randn(7, 16, 2)
    x, y = (x, y) if time_first else (x.transpose(0, 1), y.transpose(0, 1))
    flat, apart = Flat(), Apart()
    apart.load_state_dict(flat.state_dict())
    found = diagnose(flat, mse_loss, [(x, y.reshape(-1, 2))])
    expected = diagnose(apart, mse_loss, [(x, y)])
    assert np.allclose(np.nan_to_num(found.log_norm), np.nan_to_num(expected.log_norm))
    other = diagnose(apart, lambda o, t: mse_loss(o.reshape(-1, 2), t), [(x, y.reshape(-1, 2))])
    assert np.allclose(np.nan_to_num(other.log_norm), np.nan_to_num(expected.log_norm))


def test_what_eval_mode_changes_is_said(batch):
    class Normed(Net):
        def __init__(self):
            super().__init__()
            self.norm, self.drop = nn.BatchNorm1d(5), nn.Dropout(0.3)

        def forward(self, x):
            return self.out(self.drop(self.norm(self.rnn(x)[0][:, -1])))

    line = str(diagnose(Normed(), mse_loss, [batch]))
    assert "dropout 0.3 is off" in line and "seen no batch yet" in line


def test_each_part_and_direction_has_its_own_lags(batch):
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = nn.GRU(3, 4, batch_first=True, bidirectional=True)
            self.decoder, self.out = nn.LSTM(8, 5, batch_first=True), nn.Linear(5, 2)

        def forward(self, x):
            return self.out(self.decoder(self.encoder(x)[0][:, :4])[0][:, -1])

    model, (x, y) = Both(), batch
    found = diagnose(model, mse_loss, [batch])
    parts = {(p.name, p.direction): p for p in found.parts}
    assert set(parts) == {("encoder", "forward"), ("encoder", "reverse"), ("decoder", "forward")}
    assert "encoder backward (lags from its own end)" in str(found)
    # of the backward direction the loss sees steps 0..3: its own end is step 0, and step 6 is at lag 6
    assert np.isfinite(parts["encoder", "reverse"].log_norm).all()
    assert np.isfinite(parts["encoder", "forward"].log_norm[:4]).all()
    assert np.isnan(parts["encoder", "forward"].log_norm[4:]).all()
    twin = copy.deepcopy(model).double()
    seen = twin.encoder(x.double())[0].detach()[:, :4].requires_grad_()
    output, _ = twin.decoder(seen)
    states = torch.autograd.grad(mse_loss(twin.out(output[:, -1]), y.double()) * len(y), [output])[0][:, -1]
    assert np.allclose(parts["decoder", "forward"].log_norm[0], states.norm(dim=-1).log().numpy(), atol=1e-6)


def test_an_unknown_form_is_one_line_with_the_nearest_that_works(batch):
    x, y = batch
    for bad, words in (
        ({"inputs": x, "weights": y}, "give (dict, target)"),
        ([x, "words"], "must be tensors"),
        ((x,), "it must be (x, target)"),
    ):
        with pytest.raises(ValueError, match="batch 0") as caught:
            diagnose(Net(), mse_loss, [bad])
        assert words in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="the loss refuses an output of shape") as caught:
        diagnose(Net(), cross_entropy, [(x, torch.zeros(16, 9))])
    assert "\n" not in str(caught.value)
