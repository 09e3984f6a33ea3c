"""Parity: is the number of ones so far odd? One bit of state, which every one flips."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..data.split import DRAWN, full_length
from ..task import MANY_TO_MANY, MANY_TO_ONE, Data, Sequences, Task


@dataclass(frozen=True)
class Parity(Task):
    """x (T, 1) is random bits, y their running parity at every step, or with last=true only that of all.

    No answer from some of the bits beats a constant, whose loss is ln 2. With last=true nothing on the way
    tells the learner whether it is right so far.
    """

    steps: int = 20
    count: int = 6400
    last: bool = False

    def __post_init__(self) -> None:
        if self.steps < 1 or self.count < 1:
            raise ValueError(f"parity has steps={self.steps}, count={self.count}; both must be at least 1")

    def data(self, rng: np.random.Generator) -> Data:
        train, test = self.draw(rng, self.count), self.draw(rng, DRAWN)
        shape = MANY_TO_ONE if self.last else MANY_TO_MANY
        return Data(train, test, classes=2, target_loss=0.05, shape=shape, floor=0.0)

    def draw(self, rng: np.random.Generator, count: int) -> Sequences:
        bits = rng.integers(0, 2, (count, self.steps))
        x, y = bits[..., None].astype(np.float32), bits.cumsum(1) % 2
        return full_length(x, y[:, -1]) if self.last else full_length(x, y, np.ones(y.shape, bool))
