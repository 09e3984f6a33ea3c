"""One training: epochs of Adam with gradients clipped by norm, stopped early on a validation part."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from ..measure.clocks import stopwatch
from ..measure.timing import collector_off
from ..task import Data, Sequences
from . import model as t

HELD_OUT = 0.1  # of the training part, for the choice of the learning rate and for early stopping


@dataclass(frozen=True)
class Recipe:
    """How every model is trained.

    patience  epochs without a better validation loss after which it stops
    most_s    seconds of training after which it stops
    """

    batch: int = 64
    epochs: int = 6
    patience: int = 3
    max_norm: float = 1.0
    most_s: float = 1e6


@dataclass(frozen=True)
class Epoch:
    """What an epoch took and reached; accuracy is that of the test part, NaN for a regression."""

    seconds: float
    tokens: int
    validation_loss: float
    test_loss: float
    accuracy: float


@dataclass
class Course:
    """A training as it went: a loss and the seconds so far for each step, and its epochs."""

    losses: list[float] = field(default_factory=list)
    elapsed: list[float] = field(default_factory=list)
    epochs: list[Epoch] = field(default_factory=list)
    reached_s: float = math.nan  # training time until the test loss passed the task's target

    @property
    def best(self) -> int:
        """The epoch with the lowest validation loss; NaN counts as the highest."""

        def rank(n: int) -> tuple[bool, float]:
            loss = self.epochs[n].validation_loss
            return math.isnan(loss), loss

        return min(range(len(self.epochs)), key=rank)

    @property
    def seconds(self) -> float:
        return self.elapsed[-1] if self.elapsed else 0.0

    def ended(self, recipe: Recipe) -> bool:
        """Whether the epochs, the time or the patience are used up."""
        stale = bool(self.epochs) and len(self.epochs) - 1 - self.best >= recipe.patience
        return len(self.epochs) >= recipe.epochs or self.seconds >= recipe.most_s or stale


class Diverged(Exception):
    """A loss or a gradient that is not finite; the message names the step."""


@dataclass
class Learner:
    """A model in training: rng draws the order of the sequences, best holds the best epoch's parameters."""

    model: t.Trainable
    data: Data
    held_out: Sequences
    recipe: Recipe
    rng: np.random.Generator
    optimiser: torch.optim.Optimizer
    course: Course = field(default_factory=Course)
    best: dict[str, torch.Tensor] = field(default_factory=dict)

    def learn(self, after_epoch: Callable[[Learner], object] = lambda learner: None) -> Course:
        """Trains to the end, and leaves the model with its best epoch's parameters. Raises Diverged."""
        # Around all epochs, since every epoch collects garbage before its time is taken: inside this one a
        # collection goes over what the training made, and not over all that was imported (0.1 to 0.4 s).
        with collector_off():
            while not self.course.ended(self.recipe):
                self.epoch()
                if self.course.best == len(self.course.epochs) - 1:
                    self.best = copy.deepcopy(self.model.state_dict())
                after_epoch(self)
        self.model.load_state_dict(self.best)
        return self.course

    def epoch(self) -> None:
        """Trains on every sequence once, or until the time is used up, and tests. Raises Diverged."""
        course = self.course
        before = course.seconds
        tokens = self.steps(before)
        held, _ = t.evaluate(self.model, replace(self.data, test=self.held_out), self.recipe.batch)
        test_loss, accuracy = t.evaluate(self.model, self.data, self.recipe.batch)
        if not math.isfinite(held) or not math.isfinite(test_loss):
            raise Diverged(
                f"at step {len(course.losses)} the validation loss is {held}, the test loss {test_loss}"
            )
        course.epochs.append(Epoch(course.seconds - before, tokens, held, test_loss, accuracy))
        if math.isnan(course.reached_s) and test_loss <= self.data.target_loss:
            course.reached_s = course.seconds

    def steps(self, before: float) -> int:
        """The steps of an epoch that begins `before` seconds into the training; returns their tokens."""
        course, recipe, tokens = self.course, self.recipe, 0
        now = stopwatch(self.model.device, torch.get_num_threads())
        with collector_off():
            start = now()
            for batch in t.batches(
                self.data.train, recipe.batch, self.model.device, self.rng, self.data.shape
            ):
                loss, norm = step(self.model, self.optimiser, self.data, batch, recipe.max_norm)
                course.losses.append(loss)
                course.elapsed.append(before + now() - start)
                tokens += int(batch.last[: batch.count].sum()) + batch.count  # last is an index: + 1 each
                if not math.isfinite(loss) or not math.isfinite(norm):
                    raise Diverged(
                        f"at step {len(course.losses)} the loss is {loss}, the gradient's norm {norm}"
                    )
                if course.seconds >= recipe.most_s:
                    break
        return tokens


def step(
    model: t.Trainable, optimiser: torch.optim.Optimizer, data: Data, batch: t.Batch, max_norm: float
) -> tuple[float, float]:
    """One step on a batch: (its loss, the norm of the gradient before clipping)."""
    optimiser.zero_grad(set_to_none=True)
    loss = t.loss_of(data, model.answer(batch), batch)
    loss.backward()
    norm = t.gradient_norm(model)
    t.scale_gradients(model, norm, max_norm)
    optimiser.step()
    return float(loss.detach()), norm


def learner(make: Callable[[], t.Trainable], data: Data, recipe: Recipe, rate: float, seed: int) -> Learner:
    """A fresh model and its optimiser; a tenth of the training part is held out, by the seed alone."""
    model = make()
    learn, held = split(data.train, np.random.default_rng([seed, 3]))
    optimiser = torch.optim.Adam(model.parameters(), lr=rate)
    return Learner(
        model, replace(data, train=learn), held, recipe, np.random.default_rng([seed, 2]), optimiser
    )


def split(part: Sequences, rng: np.random.Generator) -> tuple[Sequences, Sequences]:
    """(what is learned from, what is held out); a single sequence is both."""
    order, count = rng.permutation(len(part)), max(1, round(HELD_OUT * len(part)))
    return (part, part) if len(part) == 1 else (take(part, order[count:]), take(part, order[:count]))


def take(part: Sequences, chosen: np.ndarray) -> Sequences:
    scored = None if part.scored is None else part.scored[chosen]
    return Sequences(part.x[chosen], part.lengths[chosen], part.y[chosen], scored)


def chosen_rate(
    rates: Sequence[float], make: Callable[[], t.Trainable], data: Data, recipe: Recipe, seed: int
) -> Iterator[tuple[float, float]]:
    """(rate, validation loss after one epoch) for each rate; nothing for a single rate.

    The loss is NaN for a rate at which the training diverged.
    """
    if len(rates) < 2:
        return
    for rate in rates:
        one = learner(make, data, replace(recipe, epochs=1), rate, seed)
        try:
            yield rate, one.learn().epochs[-1].validation_loss
        except Diverged:
            yield rate, math.nan
