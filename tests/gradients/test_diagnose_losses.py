"""Losses as people have them: ragged, ignored, weighted, mixed, not finite, without a second derivative."""

import io

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, log_softmax, mse_loss

from cellbench.harness.gradients import diagnose
from cellbench.harness.gradients.module.signs import SignOfLife


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


class EveryStep(nn.Module):
    def __init__(self, classes=2):
        super().__init__()
        self.r, self.o = nn.GRU(3, 8, batch_first=True), nn.Linear(8, classes)

    def forward(self, x):
        return self.o(self.r(x)[0])


class LastStep(EveryStep):
    def forward(self, x):
        return super().forward(x)[:, -1]


def flat(scores, y, **options):
    return cross_entropy(scores.flatten(0, 1), y.flatten(), **options)


def ragged(lengths=(20, 23), batch=32):
    return [(torch.randn(batch, t, 3), torch.randint(0, 2, (batch, t))) for t in lengths]


def test_batches_of_different_length_have_an_output_for_every_step():
    model, batches = EveryStep(), ragged()
    found = diagnose(model, flat, batches)
    with torch.no_grad():
        expected = np.mean([float(flat(model(x), y)) for x, y in batches])
    assert np.isclose(found.loss, expected, rtol=1e-6)
    assert found.log_norm.shape[0] == 23 and np.isfinite(found.trivial_loss)


def test_the_lag_that_steps_of_ragged_batches_share_is_found():
    batches = []
    for t in (14, 17, 20, 15):
        x = torch.randn(64, t, 3)
        batches.append((x, (x[:, :, 0].roll(4, 1) > 0).long()))
    found = diagnose(EveryStep(), flat, batches)
    assert int(np.nanargmax(found.z)) == 4 and found.verdict.lag == 4


def test_a_batch_whose_targets_are_all_ignored_is_named_and_is_no_explosion():
    batches = ragged((20, 20, 20))
    batches[1] = (batches[1][0], torch.zeros(32, 20, dtype=torch.long))
    found = diagnose(EveryStep(), lambda o, y: flat(o, y, ignore_index=0), batches)
    assert found.verdict.label != "EXPLODED"
    assert "the loss of batch 1 is nan" in str(found) and "ignored" in str(found)


def test_a_loss_without_a_value_in_one_batch_is_named_with_its_operation():
    def relative(o, y):
        return (o.squeeze(-1) / y).square().mean()

    batches = [(torch.randn(32, 9, 3), torch.rand(32) + 1) for _ in range(3)]
    batches[2][1].zero_()
    found = diagnose(LastStep(1), relative, batches)
    assert found.verdict.label == "LOSS NOT FINITE"
    assert "batch 2" in str(found) and "div" in str(found)


def test_a_state_that_overflows_is_named_with_its_step_and_its_operation():
    class Doubling(nn.Module):
        def __init__(self):
            super().__init__()
            self.r, self.o = nn.RNN(3, 4, nonlinearity="relu", batch_first=True), nn.Linear(4, 1)
            with torch.no_grad():
                self.r.weight_hh_l0.copy_(1e10 * torch.eye(4))
                self.r.weight_ih_l0.fill_(1.0)

        def forward(self, x):
            return self.o(self.r(x)[0][:, -1])

    found = diagnose(Doubling(), mse_loss, [(torch.ones(8, 9, 3), torch.zeros(8, 1))])
    assert found.verdict.label == "EXPLODED"
    assert "h of r at step 4 of batch 0 (inf)" in str(found)  # 3e30 at step 3, and 3e40 is beyond float32
    assert "first made by" in str(found)


def test_a_gradient_that_overflows_is_named_with_its_step():
    class Steep(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Parameter(torch.tensor(1e8))

        def forward(self, x, h):
            h = torch.zeros(len(x), 1) if h is None else h
            h = x[:, :1] + self.a * (h - h.detach())  # of value x, and with a gradient of 1e8 a step
            return h, h

    found = diagnose(Steep(), mse_loss, [(torch.randn(9, 8, 1), torch.zeros(8, 1))])
    assert found.verdict.label == "EXPLODED"
    assert "gradient" in str(found) and "at step 3" in str(found)  # 1e40, five steps before the last


def test_an_output_that_is_broadcast_against_its_target_is_what_stops_the_training():
    x = torch.randn(512, 10, 3)
    batches = list(zip(x.split(64), x[:, -1, 0].split(64), strict=True))
    with pytest.warns(UserWarning, match="target size"):
        found = diagnose(LastStep(1), mse_loss, batches)
    assert found.verdict.label == "LOSS MIXES SAMPLES"
    assert "(64, 1) against target (64,)" in str(found) and "squeeze(1)" in str(found)


def test_a_contrastive_loss_is_named_and_not_judged_as_a_mean():
    def contrastive(o, y):
        z = nn.functional.normalize(o, dim=1)
        return cross_entropy(z @ y.T, torch.arange(len(o)))

    batches = [(torch.randn(32, 9, 3), torch.randn(32, 4)) for _ in range(2)]
    found = diagnose(LastStep(4), contrastive, batches)
    assert found.verdict.label == "LOSS MIXES SAMPLES" and "half of the batch" in str(found)


@pytest.mark.parametrize(
    "options", [{"label_smoothing": 0.1}, {"weight": torch.tensor([0.2, 3.0])}, {"ignore_index": -100}]
)
def test_weights_smoothed_labels_and_ignored_targets_are_no_mixture(options):
    x = torch.randn(128, 9, 3)
    y = (x[:, 3, 0] > 0.3).long()
    y[::5] = options.get("ignore_index", y[0])
    batches = list(zip(x.split(32), y.split(32), strict=True))
    found = diagnose(LastStep(), lambda o, t: cross_entropy(o, t, **options), batches)
    with torch.no_grad():
        constant = min(
            np.mean(
                [float(cross_entropy(torch.stack([a, -a]).expand(32, 2), t, **options)) for _, t in batches]
            )
            for a in torch.linspace(-3, 3, 2001)
        )
    assert found.verdict.label != "LOSS MIXES SAMPLES"
    assert np.isclose(found.trivial_loss, constant, atol=2e-3)


def test_a_loss_without_a_second_derivative_is_diagnosed_and_that_is_said():
    class Spells(EveryStep):
        def forward(self, x):
            return log_softmax(super().forward(x), -1).transpose(0, 1)

    def ctc(o, y):
        return nn.functional.ctc_loss(o, y, torch.full((len(y),), len(o)), torch.full((len(y),), y.shape[1]))

    batches = [(torch.randn(16, 12, 3), torch.randint(1, 4, (16, 3))) for _ in range(3)]
    found = diagnose(Spells(4), ctc, batches)
    assert np.isfinite(found.loss) and np.isfinite(found.log_norm).any()
    assert "no second derivative" in str(found)


def forecasts(batches=3):
    """The answer is the first of ten inputs."""
    xs = [torch.randn(32, 10, 3) for _ in range(batches)]
    return [(x, x[:, 0, :1]) for x in xs]


@pytest.mark.parametrize(
    "root, its_square",
    [
        (lambda o, y: mse_loss(o, y).sqrt(), mse_loss),
        (lambda o, y: (mse_loss(o, y) + 1e-6).sqrt(), lambda o, y: mse_loss(o, y) + 1e-6),
        (lambda o, y: (o - y).norm(), lambda o, y: (o - y).square().sum()),
    ],
    ids=["rmse", "rmse with an epsilon", "norm"],
)
def test_a_root_of_a_mean_is_judged_as_its_square(root, its_square):
    model, batches = LastStep(1), forecasts()
    found = diagnose(model, root, batches, floor=1e-3, trivial=1.0)
    squared = diagnose(model, its_square, batches, floor=1e-6, trivial=1.0)
    assert "its square is judged" in str(found) and "its square" not in str(squared)
    assert found.verdict.label == squared.verdict.label and found.floor == squared.floor
    assert np.allclose(found.z, squared.z, rtol=1e-9) and np.isclose(found.loss, squared.loss, rtol=1e-9)
    assert np.allclose(found.log_norm, squared.log_norm, atol=1e-9)


def test_the_root_of_each_single_sequence_is_a_loss_of_its_own():
    model = EveryStep(1)
    batches = [(x, x[:, :1, :1].expand(-1, 10, -1)) for x in (torch.randn(1, 10, 3) for _ in range(32))]
    found = diagnose(model, lambda o, y: mse_loss(o, y).sqrt(), batches)
    with torch.no_grad():
        expected = np.mean([float(mse_loss(model(x), y).sqrt()) for x, y in batches])
    assert np.isclose(found.loss, expected, rtol=1e-6) and "its square" not in str(found)


@pytest.mark.parametrize("power", [0.25, 3.0, None], ids=["fourth root", "cube", "logarithm"])
def test_another_function_of_a_mean_is_refused_with_what_it_weighs(power):
    def loss(o, y):
        return mse_loss(o, y).log() if power is None else mse_loss(o, y) ** power

    with pytest.raises(ValueError, match=r"two halves of a batch weigh .* a root of one"):
        diagnose(LastStep(1), loss, forecasts())


def test_single_sequences_are_diagnosed_as_the_batch_that_they_make():
    model, x = LastStep(), torch.randn(96, 12, 3)
    y = (x[:, 2, 0] > 0).long()
    whole = diagnose(model, cross_entropy, list(zip(x.split(32), y.split(32), strict=True)))
    single = diagnose(model, cross_entropy, list(zip(x.split(1), y.split(1), strict=True)))
    assert np.isclose(whole.loss, single.loss) and np.isclose(whole.trivial_loss, single.trivial_loss)
    assert np.allclose(whole.log_norm, single.log_norm) and np.allclose(whole.z, single.z, rtol=1e-6)
    assert whole.verdict.label == single.verdict.label and whole.verdict.lag == single.verdict.lag


def test_a_diagnosis_that_takes_long_says_where_it_is():
    times, stream = iter([0.0, 1.0, 6.0, 7.0, 17.0]), io.StringIO()
    sign = SignOfLife(40, stream, lambda: next(times))
    for number in (1, 2, 3, 4):
        sign.start(number)
    assert stream.getvalue().splitlines() == [
        "diagnose: batch 2 of 40, 6 s",
        "diagnose: batch 4 of 40, 17 s",
    ]
