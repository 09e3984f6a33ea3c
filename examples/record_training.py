"""What did clipping do? Gradients of an ordinary training loop, recorded while it runs.

    python record_training.py

The loop is not changed: `record` watches the optimiser, and torch's two functions that clip.
"""

import torch
from torch import nn

from cellbench.harness.gradients import record


def main(updates=50):
    """The recorded rows, one an update."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = nn.RNN(4, 32, nonlinearity="relu")
    nn.init.eye_(model.weight_hh_l0)  # its gradients grow with the length of the sequence
    optimiser = torch.optim.SGD(model.parameters(), 1e-3)
    with record(model) as gradients:
        for _ in range(updates):
            x = torch.randn(60, 16, 4)
            loss = (model(x)[0][-1] - x[0].sum(-1, keepdim=True)).square().mean()
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
    print(gradients)
    worst = max(gradients.rows, key=lambda row: row.norm)
    print(f"largest norm: {worst.norm:.3g} at update {worst.step}, {worst.kept_norm:.3g} after clipping")
    return gradients


if __name__ == "__main__":
    main()
