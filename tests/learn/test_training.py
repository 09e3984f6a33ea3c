"""Trainings of every shape of task: what a step does, when they stop, and that a checkpoint goes on as if
nothing had been.
"""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from cellbench import cells, harness
from cellbench.harness.case import Case
from cellbench.harness.cli import main
from cellbench.harness.learn import answers, checkpoint, convolution, training
from cellbench.harness.learn.model import Model, batches, evaluate, loss_of
from cellbench.harness.learn.training import Course, Diverged, Epoch, Recipe, take
from cellbench.harness.probes.training import looks_ahead
from cellbench.harness.task import MANY_TO_MANY, MANY_TO_ONE, ONE_TO_MANY, TO_SEQUENCE, Data, Sequences

RECIPE = Recipe(batch=8, epochs=3)


def lengths_of(rng, count, steps):
    return rng.integers(1, steps + 1, count)


def within(lengths, steps):
    return np.arange(steps) < lengths[:, None]


def part(shape, seed, count=24, steps=9):
    """Tokens in, classes out (values for one to many); for sequence to sequence the tokens in reverse, then
    the end.
    """
    rng = np.random.default_rng(seed)
    lengths = lengths_of(rng, count, steps)
    known = within(lengths, steps)
    tokens = rng.integers(0, 4, (count, steps)) * known
    if shape == MANY_TO_ONE:
        return Sequences(tokens, lengths, tokens[:, 0])
    if shape == MANY_TO_MANY:
        return Sequences(tokens, lengths, tokens, known)
    if shape == ONE_TO_MANY:
        values = rng.standard_normal((count, steps, 2)).astype(np.float32)
        before = np.concatenate([np.zeros_like(values[:, :1]), values[:, :-1]], 1)
        return Sequences(before * known[..., None], lengths, values, known)
    y = np.full((count, steps + 1), 4)
    for row, length in enumerate(lengths):
        y[row, :length] = tokens[row, :length][::-1]
    return Sequences(tokens, lengths, y, within(lengths + 1, steps + 1))


def data_of(shape):
    classes = {ONE_TO_MANY: None, TO_SEQUENCE: 5}.get(shape, 4)
    return Data(part(shape, 0), part(shape, 1, 10), classes, 0.1, shape, None if shape == ONE_TO_MANY else 4)


def make(shape, spec="gru", backend="numba", dtype="float32"):
    data, cell = data_of(shape), cells.get(spec)
    width = 2 if shape == ONE_TO_MANY else 6
    case = Case(
        "training", spec, backend, "cpu", dtype, steps=9, batch=8, input_size=width, hidden_size=5, seed=0
    )
    return lambda: Model(case, cell.init(width, 5, 0), data.output_size, 0, shape, data.vocabulary)


SHAPES = [MANY_TO_ONE, MANY_TO_MANY, ONE_TO_MANY, TO_SEQUENCE]


@pytest.mark.quick
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("spec", ["gru", "lstm"])
def test_numba_has_the_gradients_of_autograd_for_every_shape(shape, spec):
    data, found = data_of(shape), []
    for backend in ("numba", "torch"):
        model = make(shape, spec, backend, "float64")()
        for one in batches(data.train, 8, "cpu", shape=shape):
            wide = replace(one, x=one.x.double(), y=one.y.double()) if shape == ONE_TO_MANY else one
            loss_of(data, model.answer(wide), wide).backward()
        found.append({name: p.grad for name, p in model.named_parameters()})
    assert found[0].keys() == found[1].keys() and (shape != TO_SEQUENCE or "decoder.weight_hh" in found[0])
    for name, grad in found[0].items():
        assert torch.allclose(grad, found[1][name], rtol=1e-9, atol=1e-12), name
        assert grad.abs().max() > 0, name


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_not_scored_changes_neither_loss_nor_accuracy(shape):
    data, model = data_of(shape), make(shape)()
    if shape == MANY_TO_ONE:
        return
    before = evaluate(model, data, 8)
    y = data.test.y.copy()
    y[~data.test.scored] = y[~data.test.scored] + 1 if shape == ONE_TO_MANY else 0
    after = evaluate(model, replace(data, test=replace(data.test, y=y)), 8)
    assert np.allclose(before, after, equal_nan=True)


@pytest.mark.parametrize("size", [3, 8, 10])
def test_the_test_loss_does_not_depend_on_the_size_of_the_batches(size):
    for shape in SHAPES:
        model, data = make(shape)(), data_of(shape)
        if shape == TO_SEQUENCE:  # what stands before a sequence must not tell of the others in its batch
            model.embedding.data.mul_(5)
            data = replace(data, test=take(data.test, np.argsort(data.test.lengths)))
        assert np.allclose(
            evaluate(model, data, size), evaluate(model, data, 1), rtol=1e-5, equal_nan=True
        ), shape


def test_decoding_greedily_agrees_with_the_answers_to_its_own_targets():
    model, data = make(TO_SEQUENCE)(), data_of(TO_SEQUENCE)
    batch = next(batches(data.test, 8, "cpu", shape=TO_SEQUENCE))
    with torch.no_grad():
        own = model.decode(batch, len(batch.y))
        again = model.answer(replace(batch, y=own)).argmax(-1)
    assert torch.equal(own, again)
    assert answers.answers(data, model, 8).shape == data.test.y.shape


@pytest.mark.parametrize("shape", SHAPES)
def test_a_training_learns_and_ends_with_its_best_epoch(shape):
    data = data_of(shape)
    one = training.learner(make(shape), data, replace(RECIPE, epochs=30, patience=30), 0.02, 0)
    course = one.learn()
    assert np.mean(course.losses[-3:]) < course.losses[0]
    best = course.epochs[course.best]
    assert best.validation_loss == min(e.validation_loss for e in course.epochs)
    assert np.isclose(evaluate(one.model, data, 8)[0], best.test_loss)


def test_what_is_held_out_is_a_tenth_and_not_learned_from():
    whole = part(MANY_TO_ONE, 0, 50)
    whole = replace(whole, x=np.arange(50)[:, None] * np.ones((1, 9), int))
    learn, held = training.split(whole, np.random.default_rng(0))
    assert len(held) == 5 and len(learn) == 45 and not set(held.x[:, 0]) & set(learn.x[:, 0])


def course_of(*validation):
    return Course(elapsed=[1.0], epochs=[Epoch(1.0, 1, v, v, 0.0) for v in validation])


def test_it_stops_when_patience_epochs_or_time_are_used_up():
    recipe = Recipe(epochs=10, patience=2)
    assert not course_of(3, 2, 2.5).ended(recipe)
    assert course_of(3, 2, 2.5, 2.1).ended(recipe)
    assert course_of(*range(10, 0, -1)).ended(recipe)
    assert course_of(1).ended(replace(recipe, most_s=1.0)) and not course_of(1).ended(
        replace(recipe, most_s=1.1)
    )
    assert course_of(math.nan, 2).best == 1


def test_the_rate_with_the_lowest_validation_loss_is_found_and_one_that_diverges_is_none():
    found = dict(
        training.chosen_rate([1e-5, 0.03, 1e37], make(MANY_TO_MANY), data_of(MANY_TO_MANY), RECIPE, 0)
    )
    assert found[0.03] < found[1e-5] and math.isnan(found[1e37])
    assert not list(training.chosen_rate([0.1], make(MANY_TO_ONE), data_of(MANY_TO_ONE), RECIPE, 0))


def test_a_loss_that_is_not_finite_ends_a_training_at_its_step():
    one = training.learner(make(MANY_TO_ONE), data_of(MANY_TO_ONE), replace(RECIPE, max_norm=1e38), 1e37, 0)
    with pytest.raises(Diverged, match="at step"):
        one.learn()


@pytest.mark.parametrize("shape", [MANY_TO_ONE, TO_SEQUENCE])
def test_a_checkpoint_goes_on_as_if_nothing_had_been(tmp_path, shape):
    data, file = data_of(shape), tmp_path / "one.safetensors"
    whole = training.learner(make(shape), data, RECIPE, 0.01, 0)
    whole.learn()

    class Stop(Exception):
        pass

    def stop(one):
        checkpoint.save(file, one)
        raise Stop

    with pytest.raises(Stop):
        training.learner(make(shape), data, RECIPE, 0.01, 0).learn(stop)
    again = training.learner(make(shape), data, RECIPE, 0.01, 0)
    assert checkpoint.resume(file, again) and len(again.course.epochs) == 1
    again.learn()
    assert again.course.losses == whole.course.losses
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name]), name


def test_a_resumed_training_keeps_the_rate_that_was_chosen_before(tmp_path):
    """Another search could choose another one; the first run's file says which it was."""
    probe = {"epochs": 2, "hidden_size": 4, "checkpoints": tmp_path / "kept", "learning_rate": "[0.02,0.03]"}
    given = [
        "cells=[gru]",
        "backends=[numba]",
        "probes=[training]",
        "tasks=[adding:steps=8:count=256]",
        "seeds=1",
    ]
    options = [f"probe.training.{name}={value}" for name, value in probe.items()]
    assert main(["run", *given, *options, f"results={tmp_path / 'runs'}"]) == 0
    (file,) = (tmp_path / "kept").iterdir()
    found = checkpoint.rate(file)
    assert found in (0.02, 0.03) and checkpoint.rate(tmp_path / "none.safetensors") is None
    one = training.learner(make(MANY_TO_ONE), data_of(MANY_TO_ONE), replace(RECIPE, epochs=1), 0.07, 0)
    one.learn(lambda learner: checkpoint.save(tmp_path / "one.safetensors", learner))
    assert checkpoint.rate(tmp_path / "one.safetensors") == 0.07
    assert (harness.load(tmp_path / "runs").query("metric == 'learning_rate'").value == found).all()


def test_checkpoints_that_cannot_be_written_are_one_line_before_anything_is_trained(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(
        checkpoint.CheckpointError, match=r"taken.* cannot be written: .*; give another folder"
    ):
        checkpoint.file(str(tmp_path / "taken"), "one")


@pytest.mark.parametrize(
    ("shape", "same", "said"),
    [
        (MANY_TO_ONE, False, "padding"),
        (MANY_TO_MANY, True, "see the targets"),
        (TO_SEQUENCE, True, "see the targets"),
        (MANY_TO_ONE, True, None),
    ],
)
def test_a_cell_that_reads_backwards_learns_only_what_it_cannot_look_up(shape, same, said):
    data = data_of(shape)
    if same:
        whole = {
            name: replace(p, lengths=np.full(len(p), 9))
            for name, p in (("train", data.train), ("test", data.test))
        }
        data = replace(data, **whole)
    found = looks_ahead(cells.get("gru:bidirectional=true"), data)
    assert (said in found) if said else found is None
    assert looks_ahead(cells.get("gru:layers=2"), data) is None


def test_a_damaged_or_foreign_checkpoint_is_refused_by_name(tmp_path):
    file = tmp_path / "one.safetensors"
    one = training.learner(make(MANY_TO_ONE), data_of(MANY_TO_ONE), RECIPE, 0.01, 0)
    assert not checkpoint.resume(file, one)
    file.write_bytes(b"not one")
    with pytest.raises(checkpoint.CheckpointError, match=r"one\.safetensors"):
        checkpoint.resume(file, one)
    with pytest.raises(checkpoint.CheckpointError, match=r"one\.safetensors"):
        checkpoint.rate(file)
    other = training.learner(
        make(MANY_TO_ONE, "lstm"), data_of(MANY_TO_ONE), replace(RECIPE, epochs=1), 0.01, 0
    )
    other.learn(lambda learner: checkpoint.save(file, learner))
    with pytest.raises(checkpoint.CheckpointError, match="cannot be used"):
        checkpoint.resume(file, one)
    head = b'{"a": {"dtype": "\\u001b[2J", "shape": [1], "data_offsets": [0, 1]}}'
    file.write_bytes(len(head).to_bytes(8, "little") + head + b"0")
    with pytest.raises(checkpoint.CheckpointError, match="cannot be used") as told:
        checkpoint.resume(file, one)
    assert str(told.value).isprintable()


@pytest.mark.quick
@pytest.mark.parametrize("shape", SHAPES[:3])
def test_the_convolution_is_causal_and_sees_what_its_receptive_field_says(shape):
    data = data_of(MANY_TO_MANY if shape == MANY_TO_ONE else shape)
    model = convolution.Convolution(data, 6 if data.vocabulary else 2, 8, 0, "cpu", "float64")
    assert (
        model.receptive_field >= 9
        and convolution.receptive_field(1) == 5
        and convolution.receptive_field(2) == 13
    )
    x = torch.randn(9, 1, 6 if data.vocabulary else 2, dtype=torch.float64, requires_grad=True)
    output = model.blocks(x.permute(1, 2, 0)).permute(2, 0, 1)
    (grad,) = torch.autograd.grad(output[4].sum(), x)
    assert grad[5:].abs().max() == 0 and grad[4].abs().max() > 0


def test_the_convolution_has_the_parameters_of_the_cell_as_near_as_channels_allow():
    data = data_of(MANY_TO_MANY)
    for wanted in (300, 5_000, 40_000):
        channels = convolution.channels_for(wanted, data, 6)
        near = [
            convolution.Convolution(data, 6, c, 0, "cpu") for c in (channels - 1, channels, channels + 1) if c
        ]
        sizes = [sum(p.numel() for part in (one.blocks, one.head) for p in part.parameters()) for one in near]
        assert min(sizes, key=lambda s: abs(s - wanted)) == sizes[-2]


def test_cells_and_convolution_stand_in_one_run_with_rivals_rate_and_verdict(tmp_path):
    probe = {
        "epochs": "2",
        "hidden_size": "4",
        "convolution": "true",
        "verdict": "true",
        "learning_rate": "[0.001,0.01]",
    }
    tasks = "tasks=[adding:steps=8:count=256,copy:delay=3:length=3:count=128]"
    overrides = ["cells=[gru]", "backends=[numba]", "probes=[training]", tasks, "seeds=1"]
    overrides += [f"probe.training.{k}={v}" for k, v in probe.items()] + [
        f"probe.training.checkpoints={tmp_path / 'saved'}"
    ]
    assert main(["run", f"results={tmp_path / 'runs'}", *overrides]) == 0
    frame = harness.load(tmp_path / "runs")
    assert set(frame.cell) == {"gru", "tcn"} and set(frame.status) == {"ok"}
    adding = frame[frame.task.str.startswith("adding") & (frame.cell == "gru")]
    assert adding[adding.metric == "learning_rate"].value.isin([0.001, 0.01]).all()
    assert adding.metric.str.startswith("rival_loss.").any() and adding.metric.str.startswith("label.").any()
    assert adding.reason.dropna().str.contains("loss").any()
    aligned = frame[frame.task.str.startswith("copy")]
    assert aligned[aligned.cell == "gru"].reason.dropna().str.contains("answers at step").any()
    assert aligned[aligned.cell == "tcn"].reason.dropna().str.startswith("no verdict: a convolution").any()
    assert (frame[frame.cell == "tcn"].metric == "receptive_field").any()
    assert len(list((tmp_path / "saved").glob("*.safetensors"))) == 4
