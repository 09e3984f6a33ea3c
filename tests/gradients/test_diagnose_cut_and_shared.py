"""`diagnose` of states cut inside a forward, a module that reads two sequences, and complex numbers."""

import pytest
import torch
from torch import nn

from cellbench.harness.gradients import diagnose

MSE = nn.functional.mse_loss


def sequences():
    torch.manual_seed(0)
    return torch.randn(3, 32, 12, 3)


class Truncated(nn.Module):
    """Cuts its state off from the graph after every fifth step."""

    def __init__(self, kind):
        super().__init__()
        torch.manual_seed(1)
        self.cell, self.read_out = kind(3, 8), nn.Linear(8, 1)

    def forward(self, x):
        state = None
        for t in range(x.shape[1]):
            state = self.cell(x[:, t], state)
            if t % 5 == 4:
                state = (
                    state.detach() if isinstance(state, torch.Tensor) else tuple(v.detach() for v in state)
                )
        return self.read_out(state if isinstance(state, torch.Tensor) else state[0])


@pytest.mark.parametrize("kind", [nn.RNNCell, nn.GRUCell, nn.LSTMCell])
def test_a_state_that_is_cut_inside_a_forward_goes_on_and_its_gradient_ends_there(kind):
    found = diagnose(Truncated(kind), MSE, [(x, x[:, 3, :1].clone()) for x in sequences()])
    assert (found.verdict.label, found.verdict.lag, len(found.lag)) == ("VANISHED", 8, 12)
    assert "transport 0 at lag 8" in str(found.verdict)


class Two(nn.Module):
    """Reads two sequences with one module."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.gru, self.read_out = nn.GRU(3, 8, batch_first=True), nn.Linear(16, 1)

    def forward(self, pair):
        return self.read_out(torch.cat([self.gru(x)[0][:, -1] for x in pair], 1))


def test_a_module_that_reads_two_sequences_has_no_gradient_that_vanished():
    found = diagnose(Two(), MSE, [((x, x + 1), x[:, 3, :1].clone()) for x in sequences()])
    assert found.verdict.label == "LEARNING" and found.verdict.lag == 8
    assert "gru starts 2 times from a fresh state in a forward; lags are of its first run" in str(
        found.verdict
    )
    assert all(band.needed < 1e11 and band.swap == band.swap for band in found.bands)


class Complex(nn.Module):
    """A diagonal recurrence of complex numbers."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.decay = nn.Parameter(0.7 * torch.exp(1j * torch.rand(8)))
        self.write = nn.Parameter(torch.randn(3, 8, dtype=torch.cfloat))
        self.read_out = nn.Linear(8, 1)

    def forward(self, x):
        h = torch.zeros(x.shape[0], 8, dtype=self.decay.dtype)
        for t in range(x.shape[1]):
            h = self.decay * h + x[:, t].to(h.dtype) @ self.write
        return self.read_out(h.real)


@pytest.mark.filterwarnings("error:Casting complex")
def test_complex_parameters_keep_their_imaginary_parts():
    model, batches = Complex(), [(x, x[:, 3, :1].clone()) for x in sequences()]
    with torch.no_grad():
        losses = [float(MSE(model(x), y)) for x, y in batches]
    assert diagnose(model, MSE, batches).loss == pytest.approx(sum(losses) / 3, rel=1e-5)
