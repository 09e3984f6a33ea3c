"""Backpropagation through time, cut every ten steps: the state is kept in the module, its gradient is not.

    python truncated_training.py

The series is the sum of its own values 3 and 17 steps ago. A window of ten steps shows the first of them, and
the state alone can bring the second.
"""

import torch
from torch import nn
from torch.nn.functional import mse_loss

from cellbench.harness.gradients import diagnose, record

WINDOW = 10


class Forecaster(nn.Module):
    """Reads windows (B, T, 1) one after the other, and goes on from the state of the last."""

    def __init__(self, width=16):
        super().__init__()
        self.lstm, self.read_out = nn.LSTM(1, width, batch_first=True), nn.Linear(width, 1)
        self.hidden = None

    def forward(self, window):
        if self.hidden is not None:
            self.hidden = tuple(state.detach() for state in self.hidden)
        output, self.hidden = self.lstm(window, self.hidden)
        return self.read_out(output)


def series(batch, steps):
    """(B, T, 1), driven by noise."""
    x = torch.randn(batch, steps)
    for t in range(17, steps):
        x[:, t] = 0.5 * x[:, t - 3] + 0.4 * x[:, t - 17] + 0.3 * x[:, t]
    return x[:, :, None]


def windows(batch=32, steps=201):
    """Windows in the order of time, each with the values that follow its own."""
    x = series(batch, steps)
    starts = range(0, steps - 1, WINDOW)
    return [(x[:, s : s + WINDOW], x[:, s + 1 : s + WINDOW + 1]) for s in starts]


def train(model, epochs):
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    with record(model) as gradients:
        for _ in range(epochs):
            model.hidden = None
            for window, following in windows():
                optimiser.zero_grad()
                mse_loss(model(window), following).backward()
                optimiser.step()
    return gradients


def main(epochs=4):
    """The gradients of the training, and the diagnosis."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = Forecaster()
    gradients = train(model, epochs)
    print(gradients)
    diagnosis = diagnose(model, mse_loss, windows()[2:])
    print(diagnosis)
    return gradients, diagnosis


if __name__ == "__main__":
    main()
