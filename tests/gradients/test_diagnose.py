"""Torch models replayed step by step, against closed forms and other programs; nothing shared is changed."""

import cProfile
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss

from cellbench import cells
from cellbench.harness.gradients import diagnose, lag_profile
from cellbench.harness.gradients.module.replay import Replay


def recall(steps, batch=16, batches=2, batch_first=False, seed=0):
    """Which of three cues came first, in noise?"""
    g = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(batches):
        y = torch.randint(3, (batch,), generator=g)
        x = 0.1 * torch.randn(steps, batch, 4, generator=g)
        x[0, torch.arange(batch), y] += 1
        found.append((x.transpose(0, 1).contiguous() if batch_first else x, y))
    return found


class Net(nn.Module):
    """A fused module, a read-out of the last step."""

    def __init__(self, kind=nn.LSTM, **options):
        super().__init__()
        self.recurrent = kind(4, 6, **options)
        self.head = nn.Linear(options.get("proj_size", 6), 3)

    def forward(self, x):
        y, _ = self.recurrent(x)
        return self.head(y[:, -1] if self.recurrent.batch_first else y[-1])


class Loop(nn.Module):
    """The same cell called once a step by the model."""

    def __init__(self, net):
        super().__init__()
        kind = {nn.LSTM: nn.LSTMCell, nn.GRU: nn.GRUCell, nn.RNN: nn.RNNCell}[type(net.recurrent)]
        self.cell, self.head = kind(4, 6), net.head
        self.cell.load_state_dict({k.removesuffix("_l0"): v for k, v in net.recurrent.state_dict().items()})

    def forward(self, x):
        state = None
        for x_t in x:
            state = self.cell(x_t, state)
        return self.head(state[0] if isinstance(state, tuple) else state)


class Step(nn.Module):
    """The same again, as a map from (x_t, state) to (output, state), read-out included."""

    def __init__(self, net):
        super().__init__()
        self.inner = Loop(net)

    def forward(self, x, state):
        state = self.inner.cell(x, state)
        return self.inner.head(state[0] if isinstance(state, tuple) else state), state


class Linear(nn.Module):
    """h' = W h + x, all of it in the output."""

    def __init__(self, matrix):
        super().__init__()
        self.matrix = nn.Parameter(torch.as_tensor(matrix))

    def forward(self, x, h):
        h = x + (0 if h is None else h @ self.matrix.T)
        return h, h


def linear_batches(steps, size, batch=8):
    g = torch.Generator().manual_seed(0)
    return [
        (torch.randn(steps, batch, size, generator=g), torch.randn(batch, size, generator=g))
        for _ in range(2)
    ]


def orthogonal(size):
    return np.linalg.qr(np.random.default_rng(0).standard_normal((size, size)))[0]


@pytest.mark.parametrize("rho", [0.9, 1.01, 1e-30])
def test_an_orthogonal_step_gives_its_scale_to_the_power_of_the_lag(rho):
    found = diagnose(Linear(rho * orthogonal(5)), mse_loss, linear_batches(60, 5))
    decay = found.log_norm - found.log_norm[0]
    assert np.allclose(decay, np.arange(60)[:, None] * np.log(rho), rtol=1e-10, atol=1e-9)
    assert np.allclose(found.log_reach - found.log_norm, 0, atol=1e-9)  # x enters the state with weight 1


def test_a_nilpotent_step_is_exactly_zero_beyond_its_size():
    found = diagnose(Linear(np.eye(4, k=1)), mse_loss, linear_batches(10, 4))
    assert np.isfinite(found.log_norm[:4]).all() and np.isneginf(found.log_norm[4:]).all()
    assert (found.transport[4:] == 0).all()


@pytest.mark.parametrize("name", ["lstm", "gru", "elman"])
def test_gradients_by_lag_are_those_of_the_cells_own_profile(name):
    kind = {"lstm": nn.LSTM, "gru": nn.GRU, "elman": nn.RNN}[name]
    module = kind(4, 6).double()
    x = torch.randn(20, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = diagnose(
        module, lambda output, target: output.sum() / len(output), [(x, torch.zeros(3, 6))], trivial=1.0
    )
    cell = cells.get(name, biases=2)
    params = {k.removesuffix("_l0"): v.detach().numpy() for k, v in module.named_parameters()}
    expected = lag_profile(cell, params, x.numpy()).log_norm[:20]
    assert np.allclose(found.log_norm, expected, rtol=1e-9, atol=1e-9)


def test_a_pinned_forget_gate_carries_the_cell_state_by_its_value_a_step():
    module = nn.LSTM(1, 5)
    with torch.no_grad():
        for p in module.parameters():
            p.zero_()
        module.bias_ih_l0[5:10] = 2.0
    batches = [(torch.zeros(30, 4, 1), torch.ones(4, 5)), (torch.zeros(30, 4, 1), torch.zeros(4, 5))]
    found = diagnose(module, mse_loss, batches)
    assert np.allclose(np.diff(found.log_norm[1:, 0]), -np.log1p(np.exp(-2.0)), rtol=1e-6)


OPTIONS = [{}, {"num_layers": 3}, {"batch_first": True}, {"bias": False}, {"num_layers": 2, "dropout": 0.5}]
FUSED = [(kind, options) for kind in (nn.RNN, nn.GRU, nn.LSTM) for options in OPTIONS]
FUSED += [(nn.LSTM, {"proj_size": 3}), (nn.LSTM, {"proj_size": 2, "num_layers": 2})]
FUSED += [(nn.RNN, {"nonlinearity": "relu", "num_layers": 2})]


@pytest.mark.filterwarnings("ignore:LSTM with projections")  # of torch, that it takes its slower way
@pytest.mark.parametrize(("kind", "options"), FUSED, ids=lambda v: getattr(v, "__name__", str(v)))
def test_every_fused_module_replays_to_its_own_gradients(kind, options):
    torch.manual_seed(0)
    net = Net(kind, **options)
    (x, y), *_ = batches = recall(7, batch_first=options.get("batch_first", False))
    found = diagnose(net, cross_entropy, batches[:1])
    twin = Net(kind, **options).double().eval()
    twin.load_state_dict(net.state_dict())
    leaf = x.double().requires_grad_()
    (d_x,) = torch.autograd.grad(cross_entropy(twin(leaf), y) * len(y), leaf)
    reach = (d_x.transpose(0, 1) if options.get("batch_first") else d_x).norm(dim=-1).log().flip(0)
    assert np.allclose(found.log_reach, reach.numpy(), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(
    ("kind", "rows", "bias"), [(nn.RNN, 0, 20.0), (nn.LSTM, 0, -30.0), (nn.GRU, 6, 30.0)]
)
def test_a_unit_whose_gates_are_shut_is_the_saturated_share(kind, rows, bias):
    """Of six units the first: its tanh, its four gates, or its update gate that lets no candidate in."""
    torch.manual_seed(0)
    net = Net(kind)
    assert diagnose(net, cross_entropy, recall(6)).saturation == 0
    with torch.no_grad():
        net.recurrent.bias_ih_l0[rows::6] = bias
    assert np.isclose(diagnose(net, cross_entropy, recall(6)).saturation, 1 / 6)


def test_a_first_state_is_made_for_each_batch():
    class Strict(Linear):
        hidden_size = 4

        def forward(self, x, h):
            return super().forward(x, h + 0)  # does not run from None

    sizes = linear_batches(5, 4, batch=16)[:1] + linear_batches(5, 4, batch=7)[:1]
    assert diagnose(Strict(0.5 * np.eye(4)), mse_loss, sizes).log_norm.shape == (5, 23)


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_a_fused_module_a_cell_in_a_loop_and_a_step_are_diagnosed_alike(kind):
    torch.manual_seed(0)
    net, batches = Net(kind), recall(9)
    fused, loop, step = (diagnose(m, cross_entropy, batches) for m in (net, Loop(net), Step(net)))
    for other in (loop, step):
        for name in ("log_norm", "log_reach", "recoverable", "z", "swap"):
            assert np.allclose(getattr(fused, name), getattr(other, name), rtol=1e-6, atol=1e-9), name
        assert other.verdict.label == fused.verdict.label and other.verdict.lag == fused.verdict.lag


def test_a_module_alone_takes_its_read_out_from_the_caller():
    torch.manual_seed(0)
    net, batches = Net(nn.GRU), recall(8)
    whole = diagnose(net, cross_entropy, batches)
    apart = diagnose(net.recurrent, cross_entropy, batches, read_out=lambda y: net.head.double()(y[-1]))
    assert np.allclose(whole.log_norm, apart.log_norm)


def test_nothing_of_the_model_or_the_generators_is_changed():
    torch.manual_seed(0)
    net, batches = Net(nn.LSTM, num_layers=2, dropout=0.3).train(), recall(6)
    cross_entropy(net(batches[0][0]), batches[0][1]).backward()
    before = {k: (p.detach().clone(), p.grad.clone(), p.dtype) for k, p in net.named_parameters()}
    seeds = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    diagnose(net, cross_entropy, batches)
    assert net.training and all(m.training for m in net.modules())
    for k, p in net.named_parameters():
        assert torch.equal(p, before[k][0]) and torch.equal(p.grad, before[k][1]) and p.dtype == before[k][2]
    assert torch.equal(torch.get_rng_state(), seeds[0]) and (np.random.get_state()[1] == seeds[1]).all()
    assert random.getstate() == seeds[2] and torch.get_default_dtype() == torch.float32
    assert "forward" not in vars(net.recurrent)


def test_a_diagnosis_is_the_same_twice():
    net, batches = Net(), recall(8)
    first, second = diagnose(net, cross_entropy, batches), diagnose(net, cross_entropy, batches)
    assert str(first) == str(second) and np.array_equal(first.swap, second.swap)


def test_a_diagnosis_runs_under_a_profiler():
    with cProfile.Profile() as profile:
        diagnose(Net(), cross_entropy, recall(2))
    assert profile.getstats()


def test_trivial_losses_are_class_entropy_variance_and_bernoulli_entropy():
    batches = recall(5, batch=40)
    y = torch.cat([b[1] for b in batches])
    shares = np.bincount(y.numpy()) / len(y)
    entropy = -(shares * np.log(shares)).sum()
    assert np.isclose(diagnose(Net(), cross_entropy, batches).trivial_loss, entropy)
    values = [(x, torch.randn(40, 3, generator=torch.Generator().manual_seed(4))) for x, _ in batches]
    variance = float(torch.cat([v for _, v in values]).var(0, unbiased=False).mean())
    assert np.isclose(diagnose(Net(), mse_loss, values).trivial_loss, variance)
    bits = [(x, (y[:, None] > torch.arange(3)).float()) for x, y in batches]
    p = torch.cat([b for _, b in bits]).mean(0).double().numpy()
    bernoulli = np.nanmean(-p * np.log(np.maximum(p, 1e-300)) - (1 - p) * np.log1p(-np.minimum(p, 1 - 1e-16)))
    found = diagnose(Net(), nn.functional.binary_cross_entropy_with_logits, bits)
    assert np.isclose(found.trivial_loss, bernoulli, atol=1e-6)


def test_a_constant_answer_may_differ_from_step_to_step():
    class Every(Net):
        def forward(self, x):
            return self.head(self.recurrent(x)[0])

    x, y = recall(5, batch=60)[0]
    target = torch.zeros(5, 60, dtype=torch.long)
    target[-1] = y
    found = diagnose(Every(), lambda o, t: cross_entropy(o.flatten(0, 1), t.flatten()), [(x, target)])
    shares = np.bincount(y.numpy()) / 60
    assert np.isclose(found.trivial_loss, -(shares * np.log(shares)).sum() / 5)


def test_per_step_losses_find_the_lag_that_they_share():
    class Every(Net):
        def forward(self, x):
            return self.head(self.recurrent(x)[0])

    g = torch.Generator().manual_seed(0)
    batches = []
    for _ in range(4):
        y = torch.randint(3, (12, 32), generator=g)
        batches.append((nn.functional.one_hot(y, 4).float(), y.roll(5, 0)))
    found = diagnose(Every(), lambda o, t: cross_entropy(o.flatten(0, 1), t.flatten()), batches)
    assert int(np.nanargmax(found.z)) == 5 and found.verdict.lag == 5


def test_swaps_cost_what_the_input_is_worth_and_nothing_elsewhere():
    target_of_the_last = [(x, x[-1, :, :3].argmax(1)) for x, _ in recall(6, batch=200)]
    net = Linear(np.zeros((4, 4)))
    found = diagnose(net, lambda o, t: cross_entropy(20 * o[:, :3], t), target_of_the_last)
    assert found.swap[0] > 0.5 and np.allclose(found.swap[1:], 0, atol=1e-12)


def test_a_swap_goes_on_from_the_pass_without_swaps_as_if_all_steps_were_made():
    replay, (x, _) = Replay(Step(Net()).double(), None, None, None, 1), recall(9, batches=1)[0]
    x = x.double()
    trail, order = replay.trail(x), torch.arange(16).roll(1)
    for swapped in ({4}, {0}, {8}, {5, 6, 7}):
        swap = dict.fromkeys(swapped, order)
        found = replay.output(x, swap, trail)
        assert torch.equal(found, replay.output(x, swap)) and not torch.equal(found, replay.output(x))


class Counting(Step):
    """Counts its steps itself, from every first state on."""

    def forward(self, x, state):
        self.t = 0 if state is None else self.t + 1
        output, state = super().forward(x, state)
        return output * self.t, state


def test_a_module_that_counts_its_steps_makes_all_of_them():
    x, _ = recall(9, batches=1)[0]
    assert Replay(Counting(Net()), None, None, None, 1).trail(x) is None
    assert Replay(Net(), None, None, None, 1).trail(x) is None


def test_the_recoverable_loss_of_a_squared_error_is_the_variance_explained():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(5, 2000, 2, generator=g)
    y = x[1, :, :1] + 0.5 * torch.randn(2000, 1, generator=g)

    class Silent(nn.Module):
        def forward(self, x, h):
            h = torch.tanh(x)
            return 0 * h[:, :1], h

    found = diagnose(Silent(), mse_loss, [(x, y)])
    assert np.isclose(found.recoverable[3], 1, atol=0.12) and abs(found.recoverable[1]) < 0.02
    assert found.z[3] > 100 and abs(found.z[1]) < 6


def test_a_given_first_state_is_taken_and_a_missing_one_is_asked_for():
    class Strict(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(4 + 5, 5)

        def forward(self, x, state):
            h = torch.tanh(self.a(torch.cat([x, state["h"]], 1)))
            return h[:, :3], {"h": h}

    net = Strict()
    assert np.isfinite(diagnose(net, cross_entropy, recall(5), state={"h": torch.zeros(1, 5)}).log_norm).all()
    assert np.isfinite(
        diagnose(net, cross_entropy, recall(5), state=lambda batch: {"h": torch.zeros(batch, 5)}).log_norm
    ).all()
    with pytest.raises(ValueError, match="state="):
        diagnose(net, cross_entropy, recall(5))


def test_a_part_may_be_named():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.head = nn.GRU(4, 5), nn.LSTM(5, 6), nn.Linear(6, 3)

        def forward(self, x):
            return self.head(self.second(self.first(x)[0])[0][-1])

    assert diagnose(Two(), cross_entropy, recall(5), recurrent="second").log_norm.shape == (5, 32)
    with pytest.raises(ValueError, match="third"):
        diagnose(Two(), cross_entropy, recall(5), recurrent="third")


def test_models_and_losses_that_hold_on_to_float32_are_diagnosed_in_it():
    class Stubborn(Net):
        def forward(self, x):
            return (
                super().forward(x.float())
                if self.head.weight.dtype == torch.float32
                else self.head(x[-1].float())
            )

    assert np.isfinite(diagnose(Stubborn(), cross_entropy, recall(5)).loss)
    weighted = nn.CrossEntropyLoss(weight=torch.ones(3))
    assert np.isclose(
        diagnose(net := Net(), weighted, recall(5)).loss, diagnose(net, cross_entropy, recall(5)).loss
    )


def test_a_sum_over_samples_is_taken_for_what_it_is():
    net = Net()
    mean, total = (
        diagnose(net, cross_entropy, recall(5)),
        diagnose(net, nn.CrossEntropyLoss(reduction="sum"), recall(5)),
    )
    assert np.isclose(mean.loss, total.loss) and np.allclose(mean.log_norm, total.log_norm)


def test_one_step_is_enough():
    found = diagnose(Net(), cross_entropy, recall(1))
    assert found.log_norm.shape == (1, 32) and np.isfinite(found.log_norm).all()


def test_an_explosion_is_an_answer_and_nan_parameters_are_named():
    found = diagnose(
        Linear(1e30 * np.eye(4)), lambda o, t: mse_loss(o[:, :1], t[:, :1]), linear_batches(40, 4)
    )
    assert found.verdict.label == "EXPLODED"
    net = Net()
    with torch.no_grad():
        net.recurrent.weight_hh_l0[0, 0] = torch.nan
    found = diagnose(net, cross_entropy, recall(4))
    assert found.verdict.label == "EXPLODED" and "recurrent.weight_hh_l0" in found.verdict.evidence


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": nn.Linear(4, 3)}, "no.*recurrent=|recurrent="),
        ({"model": "lstm"}, "torch.nn.Module"),
        ({"batches": []}, "no batches"),
        ({"batches": [torch.zeros(3)]}, r"\(x, target\)"),
        (
            {"batches": [(torch.full((5, 4, 4), torch.nan), torch.zeros(4, dtype=torch.long))]},
            "80 numbers that are not finite",
        ),
        ({"loss": nn.CrossEntropyLoss(reduction="none")}, "one number"),
        ({"loss": lambda o, t: cross_entropy(o, t) * len(t) ** 2}, "mean or a sum"),
        ({"batch_axis": 3}, "batch_axis"),
        ({"batches": [(torch.zeros(5, 7, 4), torch.zeros(3, dtype=torch.long))]}, "batch_axis="),
        ({"floor": 10.0}, "floor"),
    ],
    ids=lambda v: str(v)[:30],
)
def test_what_cannot_be_diagnosed_is_one_clear_line(change, message):
    given = {"model": nn.LSTM(4, 3), "loss": cross_entropy, "batches": recall(5)} | change
    with pytest.raises(ValueError, match=message) as caught:
        diagnose(given.pop("model"), given.pop("loss"), given.pop("batches"), **given)
    assert "\n" not in str(caught.value)


def test_a_step_that_returns_the_wrong_thing_is_named():
    class Wrong(nn.Module):
        def forward(self, x, state):
            return x

    with pytest.raises(ValueError, match=r"Wrong returned a tensor of shape .*\(output, state\)"):
        diagnose(Wrong(), cross_entropy, recall(4))


def test_a_loss_that_overflows_in_the_models_own_dtype_is_an_explosion():
    net = Net()
    with torch.no_grad():
        net.head.weight.fill_(1e38)
        net.recurrent.bias_ih_l0.fill_(5.0)
    assert diagnose(net, cross_entropy, recall(4)).verdict.label == "EXPLODED"


def test_a_gradient_that_is_not_a_number_is_an_explosion_though_the_loss_is_finite():
    class Rooted(nn.Module):
        def forward(self, x, h):
            h = torch.sqrt(
                x.abs().sum(1, keepdim=True)
                + (0 if h is None else h - h.detach())
                - x.abs().sum(1, keepdim=True)
            )
            return h.expand(-1, 3), h

    found = diagnose(Rooted(), lambda o, t: cross_entropy(o + torch.arange(3), t), recall(4))
    assert found.verdict.label == "EXPLODED" and "gradient" in found.verdict.evidence


class Late(nn.Module):
    """h' = 0.3 h + U x, and an answer of a width of its own."""

    def __init__(self, width):
        super().__init__()
        g = torch.Generator().manual_seed(0)
        self.u, self.v = (nn.Parameter(torch.randn(shape, generator=g)) for shape in ((5, 4), (width, 5)))

    def forward(self, x, h):
        h = x @ self.u.T + (0 if h is None else 0.3 * h)
        return h @ self.v.T, h


@pytest.mark.parametrize("shortest_first", [True, False])
def test_batches_of_different_lengths_share_their_lags(shortest_first):
    g, pairs = torch.Generator().manual_seed(1), []
    for steps in (6, 14, 20, 30) if shortest_first else (30, 20, 14, 6):
        x = torch.randn(steps, 100, 4, generator=g)
        pairs.append((x, x[-5, :, :1].sign().long().clamp_min(0)[:, 0]))  # the target is told at lag 4
    found = diagnose(Late(2), cross_entropy, pairs, samples=400, samples_seen=1e6)
    assert found.verdict.lag == 4 and found.verdict.label == "LEARNING"
    assert [(b.low, b.high) for b in found.bands][-1][1] == 29 and len(found.bands) == 8
    known = np.isfinite(found.log_norm)
    assert known[:6].all() and known.sum(1)[[6, 14, 20]].tolist() == [300, 200, 100]
    assert np.isfinite([b.needed for b in found.bands]).all()
    assert np.isfinite([b.swap for b in found.bands]).sum() == (
        6 if shortest_first else 8
    )  # swapped in the first 300 sequences


def test_where_a_sequence_starts_explains_nothing():
    g, pairs = torch.Generator().manual_seed(1), []
    for steps, y in ((30, 1), (8, 0)) * 2:  # the target hangs on the length alone, and inputs have a mean
        pairs.append((1 + torch.randn(steps, 100, 4, generator=g), torch.full((100,), y)))
    found = diagnose(Late(2), cross_entropy, pairs, samples=400)
    far = [b for b in found.bands if b.low > 8]
    assert far and max(b.z for b in far) < 4 and np.nanmax(found.z[8:]) < 6


def test_an_answer_as_wide_as_there_are_steps_is_one_answer():
    g = torch.Generator().manual_seed(1)
    pairs = [(x, x[0]) for x in torch.randn(2, 4, 50, 4, generator=g)]
    assert diagnose(Late(4), mse_loss, pairs).log_norm.shape == (4, 100)
