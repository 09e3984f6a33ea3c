"""The temporal order problem: in which order did two or three marks come, long before the end?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..data.split import DRAWN, full_length
from ..task import Data, Sequences, Task

SYMBOLS = 6  # two marks and four distractors
PLACES = {2: ((10, 20), (40, 50)), 3: ((10, 20), (33, 43), (66, 76))}  # of the marks, in hundredths of T


@dataclass(frozen=True)
class TemporalOrder(Task):
    """x (T, 6) is one-hot: distractors with a mark A or B at two places; y is the class AA, AB, BA or BB.

    The marks stand at random places in [T/10, 2T/10] and [4T/10, 5T/10]. With marks=3 they stand in the
    places of Hochreiter & Schmidhuber 1997, and y is AAA to BBB. Theirs has two symbols more, for start and
    end; this is the form of Pascanu et al. 2013 (arXiv 1211.5063).
    """

    steps: int = 20
    count: int = 6400
    marks: int = 2

    def __post_init__(self) -> None:
        if self.steps < 10 or self.count < 1 or self.marks not in PLACES:
            raise ValueError(
                f"temporal_order has steps={self.steps}, count={self.count}, marks={self.marks}; it needs"
                " steps >= 10, count >= 1 and 2 or 3 marks"
            )

    def data(self, rng: np.random.Generator) -> Data:
        train, test = self.draw(rng, self.count), self.draw(rng, DRAWN)
        return Data(train, test, classes=2**self.marks, target_loss=0.05, floor=0.0)

    def draw(self, rng: np.random.Generator, count: int) -> Sequences:
        symbols = rng.integers(2, SYMBOLS, (count, self.steps))
        marks = rng.integers(0, 2, (self.marks, count))
        for mark, (low, high) in zip(marks, PLACES[self.marks], strict=True):
            place = rng.integers(low * self.steps // 100, high * self.steps // 100 + 1, count)
            symbols[np.arange(count), place] = mark
        y = marks.T @ 2 ** np.arange(self.marks)[::-1]
        return full_length(np.eye(SYMBOLS, dtype=np.float32)[symbols], y)
