"""Delayed recall: which of four cues stood at the start of the sequence?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..data.split import DRAWN, full_length
from ..task import Data, Sequences, Task

CLASSES = 4
DISTRACTOR, TRIGGER = CLASSES, CLASSES + 1  # channels


@dataclass(frozen=True)
class Recall(Task):
    """x (T, 6) is a cue, one-hot in four channels at t = 0, noise at every step, a trigger; y is the cue.

    `noise` is its deviation. The trigger comes together with the cue, at t = 0, so that nothing but time
    separates it from the answer; a constant answer has a loss of ln 4.
    """

    steps: int = 40
    count: int = 6400
    noise: float = 0.5

    def __post_init__(self) -> None:
        if self.steps < 2 or self.count < 1 or not 0 <= self.noise < np.inf:
            raise ValueError(
                f"recall has steps={self.steps}, count={self.count}, noise={self.noise}; steps >= 2, count >="
                " 1, noise >= 0"
            )

    def data(self, rng: np.random.Generator) -> Data:
        train, test = self.draw(rng, self.count), self.draw(rng, DRAWN)
        return Data(train, test, classes=CLASSES, target_loss=0.1, floor=0.0)

    def draw(self, rng: np.random.Generator, count: int) -> Sequences:
        y = rng.integers(0, CLASSES, count)
        x = np.zeros((count, self.steps, TRIGGER + 1), np.float32)
        x[:, :, DISTRACTOR] = self.noise * rng.standard_normal((count, self.steps))
        x[np.arange(count), 0, y] = 1
        x[:, 0, TRIGGER] = 1
        return full_length(x, y)
