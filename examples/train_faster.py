"""Can my training be faster on the CPU, with the same model? Its GRU is swapped, and both are judged.

    python train_faster.py

The model tells the parity of the bits so far, at every step: a GRU and a read-out, written with torch alone.
`replace` has its GRU compute through this project's kernels. Weights, optimizer and losses stay the same.
How much faster that is, fresh processes say that train both in turn.
"""

import time

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from cellbench import cells
from cellbench.harness import task
from cellbench.harness.measure.judge import Judge
from cellbench.harness.measure.pair import Pair
from cellbench.harness.measure.timing import Timed

BATCH = 16


class Model(nn.Module):
    """Scores (B, T, 2) of bits (B, T, 1)."""

    def __init__(self, width=32):
        super().__init__()
        self.gru = nn.GRU(1, width, batch_first=True)
        self.read_out = nn.Linear(width, 2)

    def forward(self, x):
        return self.read_out(self.gru(x)[0])


class Training:
    """A model with its optimizer and data; run() trains for some updates and returns the last loss."""

    def __init__(self, swapped, steps, updates=5):
        torch.set_num_threads(1)
        torch.manual_seed(0)
        self.model, self.updates = Model(), updates
        if swapped:
            cells.torch_module.replace(self.model)
        self.optimizer = torch.optim.Adam(self.model.parameters(), 1e-2)
        data = task.draw(f"parity:steps={steps}:count=640", np.random.default_rng(0)).train
        self.x, self.y = torch.from_numpy(data.x), torch.from_numpy(data.y)
        self.order = np.random.default_rng(0)

    def run(self):
        for _ in range(self.updates):
            chosen = torch.from_numpy(self.order.integers(0, len(self.x), BATCH))
            loss = cross_entropy(self.model(self.x[chosen]).flatten(0, 1), self.y[chosen].flatten())
            self.optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
        return loss.item()


def done():
    """Nothing is left running when a run returns: there is no GPU to wait for."""


def sides(steps):
    """How the judge's processes build both trainings, A with torch.nn and B swapped."""
    return lambda: Timed(Training(False, steps).run, done), lambda: Timed(Training(True, steps).run, done)


def main(updates=300, steps=20, processes=3):
    """The last losses of both, and the judgement."""
    losses = []
    for name, swapped in (("torch.nn", False), ("swapped", True)):
        Training(swapped, steps, 1).run()  # the first call compiles, or reads what was compiled before
        training = Training(swapped, steps, updates)
        start = time.perf_counter()
        losses.append(training.run())
        print(f"{name:9} {updates} updates in {time.perf_counter() - start:.1f} s, loss {losses[-1]:.4f}")
    judge = Judge(np.random.default_rng(0), processes=processes)
    (judgement,) = judge.judge([Pair("swapped against torch.nn", sides, (steps,))])
    print(judgement)
    return losses, judgement


if __name__ == "__main__":
    main()
