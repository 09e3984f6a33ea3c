"""`diagnose` of models that keep a state from the first call on, change their input, or are frozen."""

from threading import Lock

import pytest
import torch
from torch import nn

from cellbench.harness.gradients import diagnose

MSE = nn.functional.mse_loss


def batches():
    torch.manual_seed(0)
    return [(x, x[:, 3, :1].clone()) for x in torch.randn(2, 32, 8, 3)]


class Kept(nn.Module):
    """Its state is None before the first call."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.gru, self.read_out, self.h = nn.GRU(3, 8, batch_first=True), nn.Linear(8, 1), None

    def forward(self, x):
        y, h = self.gru(x, self.h)
        self.h = h.detach()
        return self.read_out(y[:, -1])


class Fresh(Kept):
    def forward(self, x):
        return self.read_out(self.gru(x)[0][:, -1])


class Listed(Fresh):
    """A list of its states is empty before the first call."""

    def __init__(self):
        super().__init__()
        self.h = []

    def forward(self, x):
        self.h.append(self.gru(x)[0])
        return self.read_out(self.h[-1][:, -1])


class Centred(Fresh):
    def forward(self, x):
        x -= x.mean()
        return super().forward(x)


@pytest.mark.parametrize("kind", [Kept, Listed])
def test_a_state_that_is_empty_before_the_first_call_is_so_again(kind):
    model = kind()
    found = diagnose(model, MSE, batches())
    assert str(found.verdict) == str(diagnose(Fresh(), MSE, batches()).verdict)
    assert not model.h


def test_a_forward_that_changes_its_input_in_place_is_diagnosed_and_the_batches_stay():
    given = batches()
    assert diagnose(Centred(), MSE, given).verdict.label == "LEARNING"
    assert all(torch.equal(x, before) for (x, _), (before, _) in zip(given, batches(), strict=True))


def test_frozen_parameters_are_named_and_nothing_is_counted_of_a_frozen_recurrence():
    model = Fresh()
    model.gru.requires_grad_(False)
    text = str(diagnose(model, MSE, batches()).verdict)
    assert "frozen, so that they learn nothing: gru.weight_ih_l0, gru.weight_hh_l0" in text
    assert "nan" not in text and "samples needed" not in text
    text = str(diagnose(model.requires_grad_(False), MSE, batches()).verdict)
    assert "all parameters are frozen (requires_grad is False), so that nothing can be learned" in text
    assert "frozen" not in str(diagnose(model.requires_grad_(True), MSE, batches()).verdict)


def test_a_model_that_cannot_be_copied_is_named():
    model = Fresh()
    model.lock = Lock()
    with pytest.raises(ValueError, match=r"Fresh cannot be copied \(cannot pickle '_thread.lock' object\)"):
        diagnose(model, MSE, batches())
