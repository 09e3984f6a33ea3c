"""The adding problem: two marked numbers in a sequence, their sum at the end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..data.split import DRAWN, full_length
from ..task import Data, Sequences, Task


@dataclass(frozen=True)
class Adding(Task):
    """x (T, 2) is numbers and a marker, 1 once in each half; y is the sum of the two marked numbers.

    The numbers are uniform in [0, 1]. Hochreiter & Schmidhuber 1997, in the form of Le et al. 2015. Answering
    1 has a mean squared error of 1/6; below the target, 0.01, the problem usually counts as solved.
    """

    steps: int = 30
    count: int = 4800

    def __post_init__(self) -> None:
        if self.steps < 2 or self.count < 1:
            raise ValueError(
                f"adding has steps={self.steps}, count={self.count}; it needs steps of at least 2 and count"
                " of at least 1"
            )

    def data(self, rng: np.random.Generator) -> Data:
        train, test = self.draw(rng, self.count), self.draw(rng, DRAWN)
        return Data(train, test, classes=None, target_loss=0.01, floor=0.0)

    def draw(self, rng: np.random.Generator, count: int) -> Sequences:
        x = np.zeros((count, self.steps, 2), np.float32)
        x[:, :, 0] = rng.uniform(size=(count, self.steps))
        half, rows = self.steps // 2, np.arange(count)
        marked = [rng.integers(0, half, count), rng.integers(half, self.steps, count)]
        for positions in marked:
            x[rows, positions, 1] = 1
        first, second = (x[rows, positions, :1] for positions in marked)
        return full_length(x, first + second)
