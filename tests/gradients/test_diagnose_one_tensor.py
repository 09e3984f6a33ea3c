"""Modules that return one tensor: a state is diagnosed as such; what has no recurrence is one clear line."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss

from cellbench.harness.gradients import diagnose

pytestmark = pytest.mark.quick

SIZE = 4


class Step(nn.Module):
    """tanh(A x_t + B h), which returns its state alone."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Linear(SIZE, SIZE), nn.Linear(SIZE, SIZE)

    def forward(self, x, h=None):
        return torch.tanh(self.a(x) + self.b(torch.zeros_like(x) if h is None else h))


class Pair(Step):
    def forward(self, x, h=None):
        h = super().forward(x, h)
        return h, h


class Three(Step):
    def forward(self, x, h=None):
        h = super().forward(x, h)
        return h, h, h


class Attends(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.out = layer(), nn.Linear(SIZE, SIZE)

    def forward(self, x):
        return self.out(self.layer(x)[-1])


def layer():
    return nn.TransformerEncoderLayer(SIZE, 2, 8, dropout=0.0)


def batches(count=16):
    torch.manual_seed(1)
    return [(x, x[2]) for x in torch.randn(4, 9, count, SIZE)]


def test_a_step_that_returns_its_state_alone_is_diagnosed_as_one_that_returns_it_twice():
    one, two = (diagnose(model, mse_loss, batches()) for model in (Step(), Pair()))
    np.testing.assert_allclose(one.log_norm, two.log_norm, rtol=1e-12)
    np.testing.assert_allclose(one.log_reach, two.log_reach, rtol=1e-12)
    assert str(one) == str(two)


# as many samples as units, so that a layer of attention takes what it returned as its mask
@pytest.mark.parametrize("count", [16, SIZE])
@pytest.mark.filterwarnings("ignore:Using a target size", "ignore:enable_nested_tensor")
@pytest.mark.parametrize("make", [layer, lambda: nn.TransformerEncoder(layer(), 1), Attends, nn.Tanh])
def test_a_module_without_a_recurrence_is_named_with_what_it_returned_and_the_next_step(make, count):
    model = make()
    shape = (count, SIZE) if isinstance(model, Attends) else (9, count, SIZE)
    with pytest.raises(ValueError) as told:
        diagnose(model, mse_loss, batches(count), read_out=lambda y: y)
    text = str(told.value)
    assert text.startswith(f"{type(model).__name__} takes x of shape {(9, count, SIZE)} to {shape} without a")
    assert "a module that maps (x_t, state) to (output, state), or name that part with recurrent=" in text
    assert "\n" not in text


@pytest.mark.filterwarnings("ignore:Using a target size")
def test_a_step_that_returns_three_things_is_named_with_what_is_allowed():
    with pytest.raises(
        ValueError, match=r"Three returned a tuple of 3 when .* must return \(output, state\), or"
    ):
        diagnose(Three(), mse_loss, batches())
