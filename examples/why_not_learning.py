"""Why does it not learn? A training that stands still, and a verdict on why.

    python why_not_learning.py

A network must recall which of four cues stood at the start of a sequence. The first LSTM begins as torch
draws it, the second with forget gates that span the sequence (chrono, Tallec & Ollivier 2018). The losses of
an early training look alike; the verdicts do not.
"""

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from cellbench import cells
from cellbench.harness.gradients import diagnose

STEPS = 40


class Net(nn.Module):
    """An ordinary model: a fused LSTM and a read-out of its last step."""

    def __init__(self, scheme="torch"):
        super().__init__()
        params = cells.get("lstm").init(5, 32, seed=0, scheme=scheme)
        self.lstm = cells.to_torch(cells.get("lstm"), params).float()
        self.read_out = nn.Linear(32, 4)

    def forward(self, x):
        return self.read_out(self.lstm(x)[0][-1])


def batch(size=64):
    """x (T, B, 5): a cue at the first step, noise in the last channel; y is the cue."""
    y = torch.randint(4, (size,))
    x = torch.zeros(STEPS, size, 5)
    x[:, :, 4] = 0.5 * torch.randn(STEPS, size)
    x[0, torch.arange(size), y] = 1.0
    return x, y


def train(model, updates):
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    for update in range(updates):
        x, y = batch()
        loss = cross_entropy(model(x), y)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        if update % 50 == 0:
            print(f"  update {update}: loss {loss.item():.3f}")


def main(updates=200):
    """The verdicts by scheme."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    verdicts = {}
    for scheme in ("torch", f"chrono({STEPS})"):
        model = Net(scheme)
        print(f"LSTM drawn by {scheme}")
        train(model, updates)
        found = diagnose(model, cross_entropy, [batch(128) for _ in range(8)])
        print(f"  {found.verdict}\n")
        verdicts[scheme] = found.verdict
    return verdicts


if __name__ == "__main__":
    main()
