"""Small trainings that several claims look at: each is done once in a process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from cellbench import cells

from .. import task as tasks
from ..case import CONVOLUTION, Case
from ..learn.convolution import Convolution, channels_for
from ..learn.model import Model, Trainable, check_backend
from ..learn.training import Course, Recipe, learner
from ..task import Data, Sequences

MATCHED = "gru"  # whose number of parameters a convolution takes


@dataclass(frozen=True)
class Trial:
    """What is trained, by Adam with the gradient clipped at 1 and patience 3.

    cell may be tcn, the convolution. wrong is the share of all labels that are drawn anew, uniformly from all
    classes.
    """

    task: str
    cell: str
    seed: int
    scheme: str = "torch"
    hidden_size: int = 32
    epochs: int = 8
    rate: float = 3e-3
    wrong: float = 0.0


@dataclass(frozen=True)
class Trained:
    """A model with the parameters of its best epoch, and how it came there."""

    model: Trainable
    data: Data
    course: Course
    parameters: int

    @property
    def recurrent(self) -> Model:
        """The model, where it is a cell's."""
        assert isinstance(self.model, Model)
        return self.model

    @property
    def loss(self) -> float:
        """The loss of the test part at the epoch with the lowest validation loss."""
        return self.course.epochs[self.course.best].test_loss

    @property
    def accuracy(self) -> float:
        return self.course.epochs[self.course.best].accuracy

    @property
    def epoch_s(self) -> float:
        """Median over epochs."""
        return float(np.median([e.seconds for e in self.course.epochs]))


@cache
def trained(trial: Trial) -> Trained:
    """Raises Diverged, and NotOk for a program that is off the float64 reference."""
    data = drawn(trial.task, trial.seed, trial.wrong)
    one = learner(maker(trial, data), data, Recipe(epochs=trial.epochs), trial.rate, trial.seed)
    course = one.learn()
    if isinstance(one.model, Model):
        one.model.programs.clear()  # their buffers; the model stays in the cache
    return Trained(one.model, data, course, sum(p.numel() for p in one.model.parameters()))


def maker(
    trial: Trial, data: Data, backend: str = "numba", batch: int = Recipe.batch
) -> Callable[[], Trainable]:
    """Makes fresh models of the trial; the program has been held against the float64 reference."""
    steps, inputs = data.train.x.shape[1:]
    if trial.cell == CONVOLUTION:
        wanted = cells.get(MATCHED).parameter_count(inputs, trial.hidden_size)
        return lambda: Convolution(data, inputs, channels_for(wanted, data, inputs), trial.seed, "cpu")
    case = Case(
        "claims",
        trial.cell,
        backend,
        "cpu",
        "float32",
        1,
        steps,
        batch,
        inputs,
        trial.hidden_size,
        task=trial.task,
        seed=trial.seed,
    )
    check_backend(case)
    params = cells.get(trial.cell).init(inputs, trial.hidden_size, trial.seed, trial.scheme)
    return lambda: Model(case, params, data.output_size, trial.seed, data.shape)


@cache
def drawn(task: str, seed: int, wrong: float = 0.0) -> Data:
    """The task's data, with a share of its labels drawn anew."""
    data = tasks.draw(task, np.random.default_rng([seed, 1]))
    if not wrong:
        return data
    rng = np.random.default_rng([seed, 4])
    return replace(
        data,
        train=_mislabelled(data, data.train, wrong, rng),
        test=_mislabelled(data, data.test, wrong, rng),
        floor=None,
    )


def _mislabelled(data: Data, part: Sequences, wrong: float, rng: np.random.Generator) -> Sequences:
    other = rng.integers(0, data.classes, len(part))
    return replace(part, y=np.where(rng.random(len(part)) < wrong, other, part.y))
