"""Modules of cells.torch_module, whatever cell they have, and models that compute their own loss."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from cellbench import cells
from cellbench.harness.gradients import diagnose
from cellbench.harness.gradients.module.replay import Replay, double

WITH_KERNEL = [n for n in cells.names() if cells.backend("numba").unsupported(cells.get(n)) is None]
MIXED = 17  # classes


class Tagger(nn.Module):
    """Called as models of Hugging Face are: it returns a loss of its own where it gets labels."""

    def __init__(self, recurrence):
        super().__init__()
        self.embedding, self.recurrence = nn.Embedding(MIXED, 8), recurrence
        self.head = nn.LazyLinear(MIXED)

    def forward(self, input_ids, labels=None):
        logits = self.head(self.recurrence(self.embedding(input_ids).transpose(0, 1))[0].transpose(0, 1))
        if labels is None:
            return {"logits": logits}
        return {"loss": cross_entropy(logits.flatten(0, 1), labels.flatten()), "logits": logits}


def tagger(recurrence):
    model = Tagger(recurrence)
    model(torch.zeros(1, 2, dtype=torch.long))
    return model


def batches():
    tokens = torch.randint(MIXED, (3, 8, 9), generator=torch.Generator().manual_seed(0))
    return [{"input_ids": x, "labels": x.roll(2, 1)} for x in tokens]


def loss(logits, labels):
    return cross_entropy(logits.flatten(0, -2), labels.flatten())


@pytest.mark.parametrize("layout", [{}, {"num_layers": 2, "bidirectional": True}])
def test_a_drop_in_has_the_gradients_of_torchs_module(layout):
    theirs = tagger(nn.GRU(8, 6, **layout))
    ours = tagger(cells.torch_module("gru:biases=1", 8, 6, **layout))  # torch has none with a single bias
    arrays = {k: v for k, v in theirs.state_dict().items() if "bias_hh" not in k}
    ours.load_state_dict(arrays)
    for name, parameter in theirs.named_parameters():
        if "bias_hh" in name:
            nn.init.zeros_(parameter)
    want, got = (diagnose(model, loss, batches()) for model in (theirs, ours))
    for name in ("log_norm", "log_reach", "swap", "recoverable"):
        np.testing.assert_allclose(getattr(got, name), getattr(want, name), rtol=1e-9, atol=1e-12)
    assert len(got.parts) == len(want.parts) and got.loss == pytest.approx(want.loss, rel=1e-12)


@pytest.mark.parametrize("spec", WITH_KERNEL)
def test_the_steps_of_every_cells_drop_in_make_its_output(spec):
    module = cells.torch_module(spec, 4, 4, 2, batch_first=True, backend="numpy")
    replay = Replay(double(module), None, None, None, None)
    recording = replay.record(torch.randn(5, 6, 4, dtype=torch.float64))  # which compares the two
    assert len(recording.steps) == 6 and recording.batch == 5


def test_a_saturated_drop_in_is_seen():
    torch.manual_seed(0)
    module = cells.torch_module("mgu", 8, 6, backend="numpy")
    plain = diagnose(tagger(module), loss, batches()).saturation
    for parameter in module.parameters():
        nn.init.constant_(parameter, 50.0)
    assert plain < 0.1 < 0.5 < diagnose(tagger(module), loss, batches()).saturation


OWN = [lambda out, y: out.loss, lambda out: out["loss"], lambda model, batch: model(**batch)["loss"]]


@pytest.mark.parametrize("own", OWN)
def test_a_model_with_a_loss_of_its_own_is_told_the_call(own):
    with pytest.raises(ValueError, match=r"such as lambda logits, labels: .*cross_entropy\(logits") as caught:
        diagnose(tagger(nn.GRU(8, 6)), own, batches())
    assert "\n" not in str(caught.value)


def test_arguments_in_another_order_are_told_theirs():
    with pytest.raises(ValueError, match=r"diagnose takes \(model, loss, batches\), in this order"):
        diagnose(tagger(nn.GRU(8, 6)), batches(), loss)
