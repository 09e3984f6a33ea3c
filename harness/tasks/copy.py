"""The copy problem: symbols shown at the start are asked for, in order, after a delay."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..task import MANY_TO_MANY, Data, Sequences, Task


@dataclass(frozen=True)
class Copy(Task):
    """x (delay + 2 length, symbols + 2) one-hot: `length` random symbols, blanks, a call `length` steps
    before the end, blanks.

    y is blank up to the call, then the symbols (Hochreiter & Schmidhuber 1997, in the form of Arjovsky et al.
    2016, arXiv 1511.06464). The loss is the mean over the last `length` steps alone, those that need memory:
    ln(symbols) for an answer without it. Over all steps, as papers report it, the same answer has length
    ln(symbols) / (delay + 2 length).
    """

    delay: int = 20
    count: int = 6400
    symbols: int = 8
    length: int = 10

    def __post_init__(self):
        if self.delay < 1 or self.count < 1 or self.symbols < 2 or self.length < 1:
            raise ValueError(
                f"copy has delay={self.delay}, count={self.count}, symbols={self.symbols},"
                f" length={self.length}; symbols must be at least 2, the others at least 1"
            )

    def data(self, rng):
        train, test = self.draw(rng, self.count), self.draw(rng, 1000)
        return Data(train, test, self.symbols + 1, target_loss=0.1, shape=MANY_TO_MANY, floor=0.0)

    def draw(self, rng, count):
        steps, blank = self.delay + 2 * self.length, self.symbols
        shown = rng.integers(0, self.symbols, (count, self.length))
        seen, y = np.full((2, count, steps), blank)
        seen[:, : self.length] = shown
        seen[:, -self.length - 1] = blank + 1  # the call: the last step before the answer
        y[:, -self.length :] = shown
        scored = np.tile(np.arange(steps) >= steps - self.length, (count, 1))
        return Sequences(np.eye(self.symbols + 2, dtype=np.float32)[seen], np.full(count, steps), y, scored)
