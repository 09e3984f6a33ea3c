"""Parity: is the number of ones so far odd? One bit of state, which every one flips."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..task import MANY_TO_MANY, MANY_TO_ONE, Data, Sequences, Task


@dataclass(frozen=True)
class Parity(Task):
    """x (T, 1): random bits, 0 or 1; y their running parity at every step, or with last=true only that of
    all.

    No answer from some of the bits beats a constant, whose loss is ln 2; the last one alone gives the learner
    no hint on the way.
    """

    steps: int = 20
    count: int = 6400
    last: bool = False

    def __post_init__(self):
        if self.steps < 1 or self.count < 1:
            raise ValueError(f"parity has steps={self.steps}, count={self.count}; both must be at least 1")

    def data(self, rng):
        shape = MANY_TO_ONE if self.last else MANY_TO_MANY
        return Data(
            self.draw(rng, self.count),
            self.draw(rng, 1000),
            classes=2,
            target_loss=0.05,
            shape=shape,
            floor=0.0,
        )

    def draw(self, rng, count):
        bits = rng.integers(0, 2, (count, self.steps))
        x, lengths, y = bits[..., None].astype(np.float32), np.full(count, self.steps), bits.cumsum(1) % 2
        return (
            Sequences(x, lengths, y[:, -1]) if self.last else Sequences(x, lengths, y, np.ones(y.shape, bool))
        )
