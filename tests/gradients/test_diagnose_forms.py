"""Models in the forms that people have them in, each against float64 autograd on the model itself."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from cellbench.harness.gradients import diagnose


def data(steps=7, batch=16, size=3, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(batch, steps, size, generator=g), torch.randn(batch, 2, generator=g)


def reach_of(model, x, y, call=None):
    """log |d loss_i / d x_t| by lag, (T, B): float64 autograd, batch first, a mean loss over samples."""
    twin = copy.deepcopy(model).double().eval()
    leaf = x.double().requires_grad_()
    output = (call or (lambda m, v: m(v)))(twin, leaf)
    output = output[0] if isinstance(output, tuple) else output
    (d_x,) = torch.autograd.grad(mse_loss(output, y.double()) * len(y), leaf)
    return d_x.norm(dim=-1).log().T.flip(0).numpy()


class Fused(nn.Module):
    def __init__(self, kind=nn.LSTM, **options):
        super().__init__()
        torch.manual_seed(0)
        self.rnn = kind(3, 5, batch_first=True, **options)
        self.out = nn.Linear(5 * (1 + bool(options.get("bidirectional"))), 2)


class Plain(Fused):
    def forward(self, x):
        return self.out(self.rnn(x)[0][:, -1])


class GivenHidden(Fused):
    def forward(self, x, hidden):
        y, hidden = self.rnn(x, hidden)
        return self.out(y[:, -1]), hidden


class DefaultHidden(Fused):
    def forward(self, x, h=None):
        return self.out(self.rnn(x, h)[0][:, -1])


class KeepsState(Fused):
    hidden = None

    def forward(self, x):
        y, self.hidden = self.rnn(x)
        return self.out(y[:, -1])


class LoopsCell(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.cell, self.out = nn.GRUCell(3, 5), nn.Linear(5, 2)

    def forward(self, x, h=None):
        for t in range(x.shape[1]):
            h = self.cell(x[:, t], h)
        return self.out(h)


class LoopsLinear(nn.Module):
    """One layer on the input and the state together."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.out = nn.Linear(8, 5), nn.Linear(5, 2)

    def forward(self, x):
        h = x.new_zeros(len(x), 5)
        for t in range(x.shape[1]):
            h = torch.tanh(self.a(torch.cat([x[:, t], h], 1)))
        return self.out(h)


class LoopsTensors(nn.Module):
    """No module is called in the loop."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.w, self.u = nn.Parameter(torch.randn(3, 5) / 2), nn.Parameter(torch.randn(5, 5) / 3)
        self.out = nn.Linear(5, 2)

    def forward(self, x):
        h = x.new_zeros(len(x), 5)
        for t in range(x.shape[1]):
            h = torch.tanh(x[:, t] @ self.w + h @ self.u)
        return self.out(h)


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.LSTM(3, 4, batch_first=True), nn.GRU(4, 5, batch_first=True)
        self.out = nn.Linear(5, 2)

    def forward(self, x):
        return self.out(self.second(self.first(x)[0])[0][:, -1])


class TwoCells(nn.Module):
    """Cells in a list, the second's state fed back to the first."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.cells, self.out = nn.ModuleList([nn.GRUCell(8, 4), nn.GRUCell(4, 5)]), nn.Linear(5, 2)

    def forward(self, x):
        a, b = x.new_zeros(len(x), 4), x.new_zeros(len(x), 5)
        for t in range(x.shape[1]):
            a = self.cells[0](torch.cat([x[:, t], b], 1), a)
            b = self.cells[1](a, b)
        return self.out(b)


FORMS = [
    Plain,
    GivenHidden,
    DefaultHidden,
    KeepsState,
    LoopsCell,
    LoopsLinear,
    LoopsTensors,
    Two,
    TwoCells,
]


def mean_of(output, y):
    return mse_loss(output[0] if isinstance(output, tuple) else output, y)


def called(form):
    zeros = torch.zeros(1, 16, 5, dtype=torch.float64)
    return {GivenHidden: lambda m, v: m(v, (zeros, zeros))}.get(form)


@pytest.mark.parametrize("form", [f for f in FORMS if f is not TwoCells])
def test_the_input_gradient_by_lag_is_that_of_the_model_itself(form):
    (x, y), model = data(), form()
    found = diagnose(model, mean_of, [(x, y)])
    assert np.allclose(found.log_reach, reach_of(model, x, y, called(form)), rtol=1e-7, atol=1e-7)


def test_two_cells_that_feed_each_other_keep_every_path():
    (x, y), model = data(), TwoCells()
    states, plain = [], model.cells[0].forward
    twin = copy.deepcopy(model).double()
    handle = twin.cells[0].register_forward_hook(lambda m, a, out: states.append(out))
    loss = mse_loss(twin(x.double()), y.double()) * len(y)
    handle.remove()
    norms = torch.stack([g.norm(dim=1).log() for g in torch.autograd.grad(loss, states)]).flip(0)
    assert np.allclose(diagnose(model, mse_loss, [(x, y)]).log_norm, norms.numpy(), rtol=1e-7, atol=1e-7)
    assert model.cells[0].forward == plain


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("layers", [1, 2])
def test_two_directions_give_the_input_gradient_of_both(kind, layers):
    (x, y), model = data(), Plain(kind, bidirectional=True, num_layers=layers)
    assert np.allclose(
        diagnose(model, mse_loss, [(x, y)]).log_reach, reach_of(model, x, y), rtol=1e-7, atol=1e-7
    )


class Packs(Fused):
    def forward(self, x, lengths):
        y, h = self.rnn(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))
        pad_packed_sequence(y, batch_first=True)
        h = h[0] if isinstance(h, tuple) else h
        return self.out(torch.cat(list(h), 1) if self.rnn.bidirectional else h[-1])


@pytest.mark.parametrize("options", [{}, {"bidirectional": True}])
def test_a_packed_batch_is_each_sequence_alone_and_padding_does_not_count(options):
    (x, y), model = data(), Packs(nn.GRU, **options)
    lengths = torch.tensor([7, 3, 5, 1] * 4)
    found = diagnose(model, mse_loss, [(x, lengths, y)])
    for b, n in enumerate(lengths.tolist()):
        alone = reach_of(model, x[b : b + 1, :n], y[b : b + 1], lambda m, v, n=n: m(v, torch.tensor([n])))
        assert np.allclose(found.log_reach[:n, b], alone[:, 0], rtol=1e-7, atol=1e-7)
        assert np.isnan(found.log_reach[n:, b]).all() and np.isnan(found.log_norm[n:, b]).all()


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.rnn = nn.Embedding(11, 4), nn.LSTM(4, 5, batch_first=True)
        self.drop, self.out = nn.Dropout(0.5), nn.Linear(5, 3)

    def forward(self, input_ids, attention_mask=None):
        return {"logits": self.out(self.drop(self.rnn(self.embed(input_ids))[0][:, -1]))}


def test_a_dict_a_pair_of_dict_and_target_and_a_tuple_are_one_batch():
    g = torch.Generator().manual_seed(0)
    ids, y = torch.randint(11, (16, 6), generator=g), torch.randint(3, (16,), generator=g)
    mask = torch.ones_like(ids)
    forms = (
        {"input_ids": ids, "attention_mask": mask, "labels": y},
        ({"input_ids": ids}, y),
        (ids, y),
        (ids, mask, y),
        ((ids, mask), y),
    )
    first, *others = [diagnose(Tokens(), cross_entropy, [batch]) for batch in forms]
    for other in others:
        assert np.array_equal(first.log_norm, other.log_norm) and first.loss == other.loss


class Collated(Tokens):
    """Takes a batch as it is collated, under any name."""

    def forward(self, sample):
        return super().forward(sample["input_ids"])


def test_a_forward_that_takes_the_dict_itself_gets_it():
    g = torch.Generator().manual_seed(0)
    ids, y = torch.randint(11, (16, 6), generator=g), torch.randint(3, (16,), generator=g)
    model = Collated()
    got = diagnose(model, cross_entropy, [({"input_ids": ids, "id": ids[:, 0]}, y)])
    plain = Tokens()
    plain.load_state_dict(model.state_dict())
    assert np.array_equal(got.log_norm, diagnose(plain, cross_entropy, [(ids, y)]).log_norm)


@pytest.mark.parametrize(
    ("loss", "what"),
    [(None, "loss is None"), ("mse", "loss is a str"), (nn.MSELoss, "loss is the class MSELoss")],
)
def test_a_loss_that_is_no_function_is_said(loss, what):
    x, y = data()
    with pytest.raises(ValueError, match=f"{what}; give a function of \\(output, target\\)"):
        diagnose(Plain(), loss, [(x, y)])


def test_a_compiled_model_is_diagnosed_as_the_plain_one():
    (x, y), model = data(), Plain()
    compiled = diagnose(torch.compile(model), mse_loss, [(x, y)])
    assert np.array_equal(compiled.log_norm, diagnose(model, mse_loss, [(x, y)]).log_norm)
    wrapped = diagnose(nn.DataParallel(model), mse_loss, [(x, y)])
    assert np.array_equal(wrapped.log_norm, compiled.log_norm)


def test_a_model_that_has_been_called_and_holds_a_graph_is_diagnosed():
    (x, y), model = data(), KeepsState()
    model(x)
    held = model.hidden[0]
    assert np.isfinite(diagnose(model, mse_loss, [(x, y)]).log_norm).all()
    assert model.hidden[0] is held and held.grad_fn is not None


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_models_in_sixteen_bits_are_diagnosed_in_float64(kind):
    (x, y), model = data(), Plain().to(kind)
    found = diagnose(model, mse_loss, [(x.to(kind), y.to(kind))])
    assert np.allclose(found.log_reach, reach_of(model, x.to(kind), y.to(kind)), rtol=1e-7, atol=1e-7)


def test_a_model_without_a_recurrence_is_one_clear_line():
    with pytest.raises(ValueError, match="recurrent=") as caught:
        diagnose(nn.Sequential(nn.Flatten(), nn.Linear(21, 2)), mse_loss, [data()])
    assert "\n" not in str(caught.value)
