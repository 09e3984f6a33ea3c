"""The temporal order problem: which of four orders did two marks come in, long before the end?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..task import Data, Sequences, Task

SYMBOLS = 6  # two marks and four distractors


@dataclass(frozen=True)
class TemporalOrder(Task):
    """x (T, 6) one-hot: distractors, with a mark A or B at a random place in [T/10, 2T/10] and again in [4T/10, 5T/10].

    y is the class AA, AB, BA or BB. Hochreiter & Schmidhuber 1997, in the form of Pascanu et al. 2013 (arXiv 1211.5063).
    """

    steps: int = 20
    count: int = 6400

    def __post_init__(self):
        if self.steps < 10 or self.count < 1:
            raise ValueError(f"temporal_order has steps={self.steps}, count={self.count}; it needs steps >= 10 and count >= 1")

    def data(self, rng):
        return Data(self.draw(rng, self.count), self.draw(rng, 1000), classes=4, target_loss=0.05)

    def draw(self, rng, count):
        symbols = rng.integers(2, SYMBOLS, (count, self.steps))
        marks = rng.integers(0, 2, (2, count))
        for mark, (low, high) in zip(marks, ((1, 2), (4, 5)), strict=True):
            place = rng.integers(low * self.steps // 10, high * self.steps // 10 + 1, count)
            symbols[np.arange(count), place] = mark
        return Sequences(np.eye(SYMBOLS, dtype=np.float32)[symbols], np.full(count, self.steps), 2 * marks[0] + marks[1])
