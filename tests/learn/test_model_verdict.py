"""Verdicts on trained models of every shape of task: the answers that are drawn, the label and the line."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cellbench import cells
from cellbench.harness import task
from cellbench.harness.case import CONVOLUTION, Case
from cellbench.harness.gradients import diagnose
from cellbench.harness.learn import answers, convolution, verdict
from cellbench.harness.learn.model import Model, batches, evaluate
from cellbench.harness.learn.one_step import CellStep, unsteppable
from cellbench.harness.learn.training import Recipe, learner, take
from cellbench.harness.task import MANY_TO_MANY, MANY_TO_ONE, ONE_TO_MANY, TO_SEQUENCE, Data, Sequences

SHAPES = [MANY_TO_ONE, MANY_TO_MANY, ONE_TO_MANY, TO_SEQUENCE]
COUNT, STEPS = 60, 9


def part(shape, seed):
    """Sequences of three lengths: tokens in and classes out, or values (one to many)."""
    rng = np.random.default_rng(seed)
    lengths = rng.choice([4, 6, 9], COUNT)
    known = np.arange(STEPS) < lengths[:, None]
    tokens = rng.integers(0, 4, (COUNT, STEPS)) * known
    if shape == MANY_TO_ONE:
        return Sequences(tokens, lengths, tokens[:, 0])
    if shape == ONE_TO_MANY:
        values = rng.standard_normal((COUNT, STEPS, 2)).astype(np.float32)
        return Sequences(rng.standard_normal((COUNT, STEPS, 2)) * known[..., None], lengths, values, known)
    scored = (
        known & (np.arange(STEPS) > 1)
        if shape == MANY_TO_MANY
        else np.arange(7) < rng.integers(1, 8, (COUNT, 1))
    )
    return Sequences(tokens, lengths, rng.integers(0, 5, scored.shape), scored)


def data_of(shape):
    many = shape == ONE_TO_MANY
    return Data(part(shape, 0), part(shape, 1), None if many else 5, 0.1, shape, None if many else 4)


def model_of(data, spec="gru", dtype="float64", hidden=6, width=5):
    width = data.test.x.shape[2] if data.vocabulary is None else width
    case = Case(
        "training",
        spec,
        "torch",
        "cpu",
        dtype,
        steps=STEPS,
        batch=8,
        input_size=width,
        hidden_size=hidden,
        task="toy",
        seed=0,
    )
    params = cells.get(spec).init(width, hidden, 0)
    return case, Model(case, params, data.output_size, 0, data.shape, data.vocabulary)


def own_losses(data, model, draw):
    """(B,) the model's own losses at the targets drawn, from whole padded sequences."""
    part = take(data.test, draw.rows)
    (whole,) = batches(part, len(part), "cpu", shape=data.shape)
    whole = replace(whole, x=whole.x.double(), y=whole.y.double()) if data.classes is None else whole
    answer, y = model.answer(whole), whole.y
    answer, y = (answer, y) if data.shape == MANY_TO_ONE else (answer[draw.step], y[draw.step])
    if data.classes is None:
        return ((answer - y) ** 2).mean(1)
    return torch.nn.functional.cross_entropy(answer, y, reduction="none")


def stepped_losses(data, model, draw):
    """The same, by the steps that a diagnosis makes."""
    net, state = verdict.recurrence(model), None
    x, y = answers.batch_of(data, model, draw)
    for x_t in x:
        answer, state = net(x_t, state)
    if data.classes is None:
        return ((answer - y) ** 2).mean(1)
    return torch.nn.functional.cross_entropy(answer, y, reduction="none")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("spec", ["elman", "lstm"])
def test_answers_step_by_step_are_those_of_the_model_itself(shape, spec):
    data = data_of(shape)
    _, model = model_of(data, spec)
    with torch.no_grad():
        for draw in answers.draw(data.test, shape, np.random.default_rng(0)):
            torch.testing.assert_close(
                stepped_losses(data, model, draw), own_losses(data, model, draw), rtol=1e-9, atol=1e-9
            )


@pytest.mark.parametrize("shape", SHAPES)
def test_the_diagnosed_loss_is_the_test_loss_where_all_answers_are_drawn(shape, monkeypatch):
    monkeypatch.setattr(answers, "FEWEST", 1)
    monkeypatch.setattr(answers, "BATCHES", 99)
    data = data_of(shape)
    _, model = model_of(data, dtype="float32")
    drawn = answers.draw(data.test, shape, np.random.default_rng(0))
    total = int(answers.answered(data.test, shape).sum())
    assert sum(len(d.rows) for d in drawn) == total
    loss = torch.nn.functional.mse_loss if data.classes is None else torch.nn.functional.cross_entropy
    found = diagnose(
        verdict.recurrence(model), loss, [answers.batch_of(data, model, d) for d in drawn], samples=total
    )
    assert found.samples == total and np.isclose(found.loss, evaluate(model, data, COUNT)[0], rtol=1e-5)


def test_batches_answer_at_one_step_and_no_answer_is_drawn_twice():
    data = data_of(MANY_TO_MANY)
    drawn = answers.draw(data.test, data.shape, np.random.default_rng(0))
    pairs = [(int(row), d.step) for d in drawn for row in d.rows]
    assert len(set(pairs)) == len(pairs) and all(data.test.scored[pair] for pair in pairs)
    assert all(len(d.rows) >= answers.FEWEST for d in drawn)


def test_steps_are_drawn_as_often_as_they_are_scored():
    counts = (1600, 800, 400, 10)
    scored = np.arange(1600)[:, None] < counts
    one = Sequences(np.zeros((1600, 4, 1)), np.full(1600, 4), np.zeros((1600, 4), int), scored)
    rng = np.random.default_rng(0)
    drawn = [d for _ in range(200) for d in answers.draw(one, MANY_TO_MANY, rng)]
    counted = np.bincount([d.step for d in drawn], [len(d.rows) for d in drawn], 4)
    assert counted[3] == 0 and np.allclose(
        counted[:3] / counted.sum(), np.divide(counts[:3], 2800), atol=0.02
    )
    assert np.isclose(answers.drawable_share(one, MANY_TO_MANY), 2800 / 2810)


def test_the_steps_of_one_diagnosis_are_spread_evenly():
    one = Sequences(
        np.zeros((100, 80, 1)), np.full(100, 80), np.zeros((100, 80), int), np.ones((100, 80), bool)
    )
    steps = [d.step for d in answers.draw(one, MANY_TO_MANY, np.random.default_rng(0))]
    assert np.array_equal(np.diff(steps), [10] * 7)


def seq2seq(count, steps, rng, position):
    """Random tokens; the only target is the one at a position of the source."""
    tokens = rng.integers(0, 4, (count, steps))
    return Sequences(
        tokens, np.full(count, steps), tokens[:, position : position + 1], np.ones((count, 1), bool)
    )


def test_an_encoder_that_forgets_has_vanished_at_the_lag_of_what_is_asked():
    rng = np.random.default_rng(0)
    data = Data(*(seq2seq(400, 24, rng, 3) for _ in range(2)), 4, 0.1, TO_SEQUENCE, 4)
    case, model = model_of(data, "elman", hidden=16, width=8)
    with torch.no_grad():
        for cell in (model.cell, model.decoder):
            cell["weight_hh"].mul_(0.2)
    said = verdict.verdict(case, data, model, 10**6)
    assert said.label == "VANISHED" and said.line.startswith(
        "VANISHED at lag 21:"
    )  # 20 steps to the source's end, and the start
    assert "answers at target 0 of 0-0" in said.line


def test_an_encoder_and_a_decoder_that_have_learned_are_converged():
    rng = np.random.default_rng(0)
    data = Data(*(seq2seq(count, 4, rng, 1) for count in (1500, 300)), 4, 0.1, TO_SEQUENCE, 4)
    case, _ = model_of(data)
    one = learner(lambda: model_of(data, dtype="float32", hidden=16)[1], data, Recipe(64, 8), 0.02, 0)
    one.learn()
    assert one.course.epochs[-1].test_loss < 0.03
    said = verdict.verdict(case, data, one.model, 8 * 1500)
    assert said.label == "CONVERGED", said.line


def delayed(lag, count, rng, steps=20):
    """Random tokens; the target at every step is the token so many steps before."""
    x = rng.integers(0, 4, (count, steps))
    scored = np.tile(np.arange(steps) >= lag, (count, 1))
    return Sequences(x, np.full(count, steps), np.roll(x, lag, 1), scored)


@pytest.mark.parametrize(
    ("lag", "scale", "label"), [(0, 1.0, "LEARNING"), (12, 1.0, "LEARNING"), (12, 0.2, "VANISHED")]
)
def test_an_aligned_task_is_diagnosed_at_its_lag(lag, scale, label):
    rng = np.random.default_rng(0)
    data = Data(delayed(lag, 50, rng), delayed(lag, 300, rng), 4, 0.1, MANY_TO_MANY, 4)
    case, model = model_of(data, "elman", hidden=16, width=8)
    with torch.no_grad():
        orthogonal = torch.nn.init.orthogonal_(
            torch.empty(16, 16, dtype=torch.float64), generator=torch.Generator().manual_seed(0)
        )
        model.cell["weight_hh"].copy_(scale * orthogonal)
        model.embedding.mul_(0.3)
    said = verdict.verdict(case, data, model, 10**6)
    assert said.label == label and f"{label} at lag {lag}:" in said.line, said.line


def test_what_was_looked_at_is_said():
    data = data_of(MANY_TO_MANY)
    case, model = model_of(data)
    short = replace(data, test=take(data.test, np.argsort(data.test.lengths)[:40]))
    count = short.test.scored.sum(0)
    share = count[count >= answers.FEWEST].sum() / count.sum()
    line = verdict.verdict(case, short, model, 100).line
    assert 0.5 < share < 0.995 and line.endswith(
        f"of 0-8; only steps at which 16 sequences answer, {share:.0%} of the answers"
    )


def test_there_is_a_reason_where_there_is_no_verdict():
    data = data_of(MANY_TO_MANY)
    case, model = model_of(data)
    tcn = convolution.Convolution(data, 5, 4, 0, "cpu", "float32")
    few = replace(data, test=take(data.test, np.arange(10)))
    wrong = replace(data, floor=99.0)
    both = replace(case, spec="gru:bidirectional=true")
    for asked, said in (
        ((replace(case, spec=CONVOLUTION), data, tcn), "a convolution has no state"),
        ((case, few, model), "no step of the test part has 16 sequences"),
        ((case, wrong, model), "floor is 99"),
        ((both, data, model), "bidirectional=True; a verdict follows one direction"),
    ):
        found = verdict.verdict(*asked, 100)
        assert found.label is None and found.line.startswith("no verdict: ") and said in found.line


@pytest.mark.parametrize("spec", ["gru:layers=2", "lstm:layers=2:proj_size=3", "qrnn:layers=2"])
def test_a_stack_called_step_by_step_answers_as_its_layers_do(spec):
    cell = cells.get(spec)
    params, x = cell.init(4, 5), np.random.default_rng(0).standard_normal((6, 2, 4))
    width = cell.output_size(4, 5)
    net = CellStep(
        cell, params, torch.eye(width, dtype=torch.float64), torch.zeros(width, dtype=torch.float64)
    )
    state = None
    for x_t in torch.tensor(x):
        answer, state = net(x_t, state)
    program = cells.backend("numpy").prepare(cell, params, steps=6, batch=2, dtype="float64")
    assert unsteppable(cell) is None
    assert np.allclose(answer.detach().numpy(), program.forward(x).output[-1], rtol=1e-12, atol=1e-14)


def test_a_network_is_laid_beside_the_system_at_the_lags_that_both_have():
    oscillator = task.get("oscillator:count=20:steps=12")
    data = oscillator.data(np.random.default_rng(0))
    _, model = model_of(data)
    found, truth = verdict.compared_with_system(oscillator, data, model), oscillator.truth(data)
    assert len(found.own_profile) == len(found.true_profile) > 1 and np.isfinite(found.own_lyapunov)
    assert found.true_lyapunov == truth.lyapunov and np.array_equal(
        found.true_profile, truth.lag_profile[: len(found.own_profile)]
    )
    assert found.profile_rms_nats == pytest.approx(
        np.linalg.norm(found.own_profile - found.true_profile) / len(found.own_profile) ** 0.5
    )


def test_there_is_nothing_beside_a_task_without_a_system_or_a_cell_that_sees_whole_sequences():
    adding, oscillator = task.get("adding:count=20:steps=12"), task.get("oscillator:count=20:steps=12")
    for one, spec in ((adding, "gru"), (oscillator, "qrnn")):
        data = one.data(np.random.default_rng(0))
        assert verdict.compared_with_system(one, data, model_of(data, spec)[1]) is None
