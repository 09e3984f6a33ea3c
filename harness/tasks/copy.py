"""The copy problem: symbols shown at the start are asked for, in order, after a delay."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..data.split import DRAWN, full_length
from ..task import MANY_TO_MANY, Data, Sequences, Task


@dataclass(frozen=True)
class Copy(Task):
    """x (delay + 2 length, symbols + 2) is one-hot: symbols, blanks, a call, blanks; y ends in the symbols.

    `length` random symbols are shown first, and the call stands just before the last `length` steps, where y
    repeats them; before, y is blank. Hochreiter & Schmidhuber 1997, in the form of Arjovsky et al. 2016
    (arXiv 1511.06464). The loss is the mean over those last steps, which need memory: ln(symbols) for an
    answer without it. Over all steps, as papers report it, that answer has
    length ln(symbols) / (delay + 2 length).
    """

    delay: int = 20
    count: int = 6400
    symbols: int = 8
    length: int = 10

    def __post_init__(self) -> None:
        if self.delay < 1 or self.count < 1 or self.symbols < 2 or self.length < 1:
            raise ValueError(
                f"copy has delay={self.delay}, count={self.count}, symbols={self.symbols},"
                f" length={self.length}; symbols must be at least 2, the others at least 1"
            )

    def data(self, rng: np.random.Generator) -> Data:
        train, test = self.draw(rng, self.count), self.draw(rng, DRAWN)
        return Data(train, test, self.symbols + 1, target_loss=0.1, shape=MANY_TO_MANY, floor=0.0)

    def draw(self, rng: np.random.Generator, count: int) -> Sequences:
        steps, blank = self.delay + 2 * self.length, self.symbols
        symbols = rng.integers(0, self.symbols, (count, self.length))
        shown, y = np.full((2, count, steps), blank)
        shown[:, : self.length] = symbols
        shown[:, -self.length - 1] = blank + 1  # the call: the last step before the answer
        y[:, -self.length :] = symbols
        scored = np.tile(np.arange(steps) >= steps - self.length, (count, 1))
        return full_length(np.eye(self.symbols + 2, dtype=np.float32)[shown], y, scored)
