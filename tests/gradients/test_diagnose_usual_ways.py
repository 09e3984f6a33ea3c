"""Ten usual ways of writing a model, and the examples, go through diagnose as they are."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from support.common_models import WAYS

from cellbench.harness.gradients import diagnose, record

EXAMPLES = Path(__file__).parents[2] / "examples"
LABELS = ("UNDETERMINED", "LEARNING", "CONVERGED", "VANISHED")


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_usual_way_of_writing_a_model_is_diagnosed_as_it_is(way):
    torch.manual_seed(0)
    made = way()
    found = diagnose(made.model, made.loss, made.batches)
    assert found.verdict.label in LABELS
    assert np.isfinite([found.loss, found.trivial_loss, found.gradient_norm]).all()
    assert found.trivial_loss <= found.loss * 1.2 and np.isfinite(found.log_norm[0]).any()
    assert 0 <= found.saturation < 0.5 and len(found.log_norm) > 3


def loss_of(made, batch):
    """As its training loop computes it."""
    model = made.model
    if isinstance(batch, dict):
        return made.loss(model(batch["input_ids"], batch["lengths"]), batch["labels"])
    *x, y = batch
    if not hasattr(model, "init_hidden"):
        return made.loss(model(*x), y)
    hidden = model.init_hidden(x[0].shape[1])
    if hasattr(model, "nlayers"):
        return made.loss(model(x[0], hidden)[0], y)
    for x_t in x[0]:  # one step a call
        output, hidden = model(x_t, hidden)
    return made.loss(output, y)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_usual_way_of_writing_a_model_is_recorded_with_the_norms_that_autograd_gives(way):
    torch.manual_seed(0)
    made = way()
    made.model.eval()  # without dropout, so that autograd can be asked a second time
    params = list(made.model.parameters())
    optimiser = torch.optim.SGD(params, 0.0)
    expected = torch.autograd.grad(loss_of(made, made.batches[0]), params, allow_unused=True)
    norm = float(torch.cat([g.flatten() for g in expected if g is not None]).norm())
    if hasattr(made.model, "hidden_cell"):
        made.model.hidden_cell = tuple(torch.zeros_like(h) for h in made.model.hidden_cell)
    with record(made.model) as gradients:
        loss_of(made, made.batches[0]).backward()
        torch.nn.utils.clip_grad_norm_(params, norm / 2)
        optimiser.step()
    (row,) = gradients.rows
    assert np.isclose(row.norm, norm, rtol=1e-4) and np.isclose(row.kept_norm, norm / 2, rtol=1e-4)
    assert not gradients.idle


def trained(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("name", "label", "words"),
    [
        ("word_model", "LEARNING", "lag 11"),
        ("tagger_with_padding", "UNDETERMINED", "backward (lags from its own end)"),
        ("speech_with_ctc", "UNDETERMINED", "no second derivative"),
        ("encoder_decoder", "LEARNING", "decoder: transport"),
        ("truncated_training", "CONVERGED", "loss"),
    ],
)
def test_an_example_says_what_its_training_needs(name, label, words, capsys):
    result = trained(name).main()
    diagnosis = result[1] if isinstance(result, tuple) else result
    assert diagnosis.verdict.label == label and words in capsys.readouterr().out
