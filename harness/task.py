"""The contract of a task: sequences to learn from and to test on, a loss, and what trivial answers reach.

A task is a dataclass; its fields are its options (`tasks=[adding:steps=200]`). Many to one: one target a sequence.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cells import find


class DataAbsent(ValueError):
    """The task's data is not on this machine; the message says how to get it."""


@dataclass(frozen=True)
class Sequences:
    """x (N, T, I) float32, zero beyond each length; lengths (N,); y (N,) classes, or (N, K) values."""

    x: np.ndarray
    lengths: np.ndarray
    y: np.ndarray

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True)
class Data:
    """Both parts of a task. `target_loss` is the test loss at which it counts as learned."""

    train: Sequences
    test: Sequences
    classes: int | None  # None: a regression, with the mean squared error as loss
    target_loss: float

    @property
    def output_size(self) -> int:
        return self.classes or self.train.y.shape[1]

    @property
    def trivial_loss(self) -> float:
        """Test loss of the best constant answer, learned from the training part: nats, or the squared error."""
        if self.classes is None:
            return float(np.mean((self.test.y - self.train.y.mean(0)) ** 2))
        share = np.bincount(self.train.y, minlength=self.classes) / len(self.train)
        return float(-np.mean(np.log(share[self.test.y])))

    @property
    def chance_accuracy(self) -> float | None:
        """Test accuracy of always answering the most frequent class."""
        if self.classes is None:
            return None
        return float(np.mean(self.test.y == np.bincount(self.train.y).argmax()))


@dataclass(frozen=True)
class Task:
    """Base of all tasks."""

    @property
    def name(self) -> str:
        return find.public_name(self)

    def data(self, rng: np.random.Generator) -> Data:
        """Draws or reads the data. Raises DataAbsent where it is not on this machine."""
        raise NotImplementedError


def names() -> list[str]:
    return find.names(f"{__package__}.tasks", "cellbench.tasks")


def get(spec: str) -> Task:
    """The task that a spec names. Raises ValueError for an unknown task or option."""
    return find.member(spec, Task, f"{__package__}.tasks", "cellbench.tasks")
