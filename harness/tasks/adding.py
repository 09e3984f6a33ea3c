"""The adding problem: two marked numbers in a sequence, their sum at the end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..task import Data, Sequences, Task


@dataclass(frozen=True)
class Adding(Task):
    """x (T, 2): uniform numbers in [0, 1] and a marker that is 1 once in each half; y is the sum of the two
    marked numbers.

    Hochreiter & Schmidhuber 1997, in the form of Le et al. 2015. Answering 1 has a mean squared error of 1/6.
    """

    steps: int = 30
    count: int = 4800

    def __post_init__(self):
        if self.steps < 2 or self.count < 1:
            raise ValueError(
                f"adding has steps={self.steps}, count={self.count}; it needs steps of at least 2 and count"
                " of at least 1"
            )

    def data(self, rng):
        return Data(
            self.draw(rng, self.count), self.draw(rng, 1000), classes=None, target_loss=0.01, floor=0.0
        )

    def draw(self, rng, count):
        x = np.zeros((count, self.steps, 2), np.float32)
        x[:, :, 0] = rng.uniform(size=(count, self.steps))
        half, rows = self.steps // 2, np.arange(count)
        marked = [rng.integers(0, half, count), rng.integers(half, self.steps, count)]
        for positions in marked:
            x[rows, positions, 1] = 1
        y = sum(x[rows, positions, 0] for positions in marked)
        return Sequences(x, np.full(count, self.steps), y[:, None])
