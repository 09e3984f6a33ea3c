"""Tasks, and training through any backend's programs."""

import math

import numpy as np
import pytest
import torch
from support.trainings import ended

from cellbench import cells, harness
from cellbench.harness import task
from cellbench.harness.case import Case
from cellbench.harness.cli import main
from cellbench.harness.data import archives
from cellbench.harness.learn.model import (
    Batch,
    Model,
    batches,
    evaluate,
    gradient_norm,
    loss_of,
    scale_gradients,
)
from cellbench.harness.probes.clipping import spikes
from cellbench.harness.task import Data, Sequences
from cellbench.harness.tasks.adding import Adding
from cellbench.harness.tasks.temporal_order import TemporalOrder


def case(backend):
    return Case("training", "gru", backend, "cpu", "float32", steps=8, batch=4, input_size=2, hidden_size=5)


def small(count=10):
    rng = np.random.default_rng(0)
    lengths = np.array([3, 8, 1, 5, 8, 2, 7, 4, 6, 8])[:count]
    x = rng.standard_normal((count, 8, 2)).astype(np.float32) * (
        np.arange(8)[None, :, None] < lengths[:, None, None]
    )
    return Sequences(x.astype(np.float32), lengths, rng.integers(0, 3, count))


def model_of(backend, seed=0):
    cell = cells.get("gru")
    return Model(case(backend), cell.init(2, 5, seed), 3, seed)


@pytest.mark.parametrize("name", [n for n in task.names() if n not in archives.known()])
def test_a_task_draws_what_its_contract_says_and_the_same_for_the_same_seed(name):
    first, again = (task.get(name).data(np.random.default_rng(3)) for _ in range(2))
    for part, same in ((first.train, again.train), (first.test, again.test)):
        assert (
            part.x.ndim == 3 and part.x.dtype == np.float32
            if first.vocabulary is None
            else part.x.max() < first.vocabulary
        )
        assert len(part.lengths) == len(part.y) == len(part)
        assert part.lengths.min() >= 1 and part.lengths.max() <= part.x.shape[1]
        assert np.array_equal(part.x, same.x) and np.array_equal(part.y, same.y)
    assert first.trivial_loss > first.target_loss


def test_adding_marks_one_number_in_each_half_and_their_sum_is_the_target():
    data = Adding(steps=11).data(np.random.default_rng(0))
    values, marks = data.train.x[:, :, 0], data.train.x[:, :, 1]
    assert (marks[:, :5].sum(1) == 1).all() and (marks[:, 5:].sum(1) == 1).all()
    assert np.allclose((values * marks).sum(1), data.train.y[:, 0], atol=1e-6)
    assert abs(data.trivial_loss - 1 / 6) < 0.02


def test_temporal_order_has_two_marks_in_their_places_and_four_classes():
    data = TemporalOrder(steps=20).data(np.random.default_rng(0))
    symbols = data.train.x.argmax(2)
    where = symbols < 2
    assert (where.sum(1) == 2).all() and where[:, 2:5].any(1).all() and where[:, 8:11].any(1).all()
    marks = symbols[where].reshape(-1, 2)
    assert np.array_equal(2 * marks[:, 0] + marks[:, 1], data.train.y)
    assert abs(data.trivial_loss - math.log(4)) < 0.02


@pytest.mark.quick
def test_batches_hold_every_sequence_once_and_fill_up_the_last():
    part = small()
    seen = list(batches(part, 4, "cpu", np.random.default_rng(0)))
    assert [b.count for b in seen] == [4, 4, 2] and all(b.x.shape[1:] == (4, 2) for b in seen)
    total = sum(float(b.x[:, : b.count].sum()) for b in seen)
    assert np.isclose(total, part.x.sum(), atol=1e-4)


@pytest.mark.quick
@pytest.mark.parametrize("backend", ["numpy", "numba", "torch", "native"])
def test_a_training_step_has_the_gradients_of_torchs_own_module(backend):
    model, batch = model_of(backend), next(batches(small(4), 4, "cpu"))
    data = Data(small(), small(), 3, 0.1)
    loss_of(data, model(batch.x, batch.last), batch).backward()
    module = torch.nn.GRU(2, 5)
    module.load_state_dict({f"{k}_l0": v.detach() for k, v in model.cell.items()})
    output, _ = module(batch.x)
    answer = torch.nn.functional.linear(
        output[batch.last, torch.arange(4)], model.head_weight, model.head_bias
    )
    torch.nn.functional.cross_entropy(answer, batch.y).backward()
    for name, parameter in model.cell.items():
        assert torch.allclose(parameter.grad, getattr(module, f"{name}_l0").grad, rtol=1e-4, atol=1e-6), name


@pytest.mark.quick
def test_numba_and_native_train_alike():
    data = Data(small(), small(), 3, 0.1)
    curves = []
    for backend in ("numba", "native"):
        model = model_of(backend)
        optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
        losses = []
        for _ in range(10):
            for batch in batches(data.train, 4, "cpu", np.random.default_rng(1)):
                optimiser.zero_grad(set_to_none=True)
                loss = loss_of(data, model(batch.x, batch.last), batch)
                loss.backward()
                scale_gradients(model, gradient_norm(model), 1.0)
                optimiser.step()
                losses.append(float(loss.detach()))
        curves.append([*losses, *evaluate(model, data, 4)])
    assert np.allclose(*curves, rtol=2e-3) and curves[0][-3] < curves[0][0]


def test_the_filled_up_part_of_a_batch_counts_for_nothing():
    data = Data(small(), small(), 3, 0.1)
    batch = next(batches(small(3), 4, "cpu"))
    answer = torch.randn(4, 3)
    changed = Batch(batch.x, batch.last, batch.y, 3)
    other = answer.clone()
    other[3] += 100
    assert loss_of(data, answer, changed) == loss_of(data, other, changed)


def test_gradients_are_scaled_to_the_largest_norm_and_only_above_it():
    model = model_of("torch")
    for p in model.parameters():
        p.grad = torch.full_like(p, 1e20)
    norm = gradient_norm(model)
    assert math.isfinite(norm)
    scale_gradients(model, norm, 1.0)
    assert np.isclose(gradient_norm(model), 1.0, rtol=1e-5)
    scale_gradients(model, 1.0, 2.0)
    assert np.isclose(gradient_norm(model), 1.0, rtol=1e-5)


def test_spikes_are_losses_far_above_the_window_before():
    losses = np.random.default_rng(0).normal(1, 0.01, 300)
    assert spikes(losses) == 0
    losses[[150, 220]] = 5
    assert spikes(losses) == 2


SMALL = [
    "probe.training.epochs=1",
    "probe.training.hidden_size=4",
    "probe.clipping.updates=60",
    "probe.clipping.hidden_size=5",
    "seeds=1",
]


def test_training_and_clipping_run_from_the_command_line(tmp_path):
    overrides = [
        "cells=[gru]",
        "backends=[numba]",
        "probes=[training,clipping]",
        "tasks=[adding:steps=8:count=256]",
    ]
    assert (
        main(["run", f"results={tmp_path}", *overrides, *SMALL, "probe.clipping.thresholds=[0,0.001]"]) == 0
    )
    frame = harness.load(tmp_path)
    training = frame[frame.probe == "training"]
    assert (training.metric == "loss").sum() == 4 and (training.metric == "elapsed_s").sum() == 4
    elapsed = training[training.metric == "elapsed_s"].value
    assert elapsed.is_monotonic_increasing and elapsed.iloc[0] > 0
    clipped = frame[frame.metric == "clipped_fraction"].set_index("variant").value
    assert clipped["max_norm=none"] == 0 and clipped["max_norm=0.001"] == 1


@pytest.mark.filterwarnings("ignore:.*(overflow|invalid value):RuntimeWarning")
def test_a_diverging_training_is_a_row_with_its_step():
    end, metrics = ended(
        "elman:activation=relu", "adding:steps=40:count=640", learning_rate=[1e30], max_norm=1e30
    )
    assert end.status == "diverged" and "step" in end.reason and "loss" in metrics


def test_absent_data_is_a_skipped_row_that_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("CELLBENCH_DATA", str(tmp_path / "none"))
    end, metrics = ended(task="spoken_digits")
    assert end.status == "skipped" and "cellbench data fetch spoken_digits" in end.reason and not metrics
