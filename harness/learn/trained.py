"""What is said of a trained model beyond its loss: the verdict on it, and its task's own figures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..case import Case
from ..gradients import diagnose
from ..probe import cell_of
from ..task import MANY_TO_ONE, TO_SEQUENCE, Data, Task, named
from . import draws
from .model import Model, Trainable, batches
from .one_step import Handed, Stepped, unsteppable
from .system import identified

LEAST_SEEN = (
    1e6  # samples: a gradient that so many would show has not vanished, however short the training was
)


@dataclass(frozen=True)
class Said:
    """A verdict's label (None where there is none) and its line, or why there is none."""

    label: str | None
    line: str


def verdict(case: Case, data: Data, model: Trainable, targets_seen: int) -> Said:
    """The diagnosis of answers that a model gives in the test part, stepped in float64; targets_seen in
    training.
    """
    if not isinstance(model, Model):
        return Said(None, "no verdict: a convolution has no state that a gradient could be followed through")
    if reason := unsteppable(cell_of(case)):
        return Said(None, f"no verdict: {reason}")
    drawn = draws.draws(data.test, data.shape, np.random.default_rng([case.seed, 5]))
    if not drawn:
        return Said(
            None, f"no verdict: no step of the test part has {draws.FEWEST} sequences that answer there"
        )
    loss = torch.nn.functional.mse_loss if data.classes is None else torch.nn.functional.cross_entropy
    longest = max(one.step for one in drawn)
    drawn.sort(
        key=lambda one: one.step < longest
    )  # inputs are swapped in the first batches alone: at all lags
    pairs, count = [draws.batch(data, model, one) for one in drawn], sum(len(one.rows) for one in drawn)
    seen = max(targets_seen, LEAST_SEEN)
    try:
        found = diagnose(recurrence(model), loss, pairs, samples=count, samples_seen=seen, floor=data.floor)
    except ValueError as error:  # a training is not lost for want of a verdict
        return Said(None, f"no verdict: {error}")
    return Said(found.verdict.label, f"{found.verdict}{of_which(data, drawn)}")


def recurrence(model: Model) -> Stepped | Handed:
    """The model's own steps, on the CPU: of an encoder and a decoder as one recurrence."""
    cell, head = model.cell_itself, (model.head_weight, model.head_bias)
    last = Stepped(cell, dict((model.decoder if model.shape == TO_SEQUENCE else model.cell).items()), *head)
    return (
        Handed(Stepped(cell, dict(model.cell.items()), *head), last) if model.shape == TO_SEQUENCE else last
    ).cpu()


def of_which(data: Data, drawn: list[draws.Draw]) -> str:
    """Which answers were looked at, where a sequence has several or not all could be drawn."""
    steps, share = sorted({one.step for one in drawn}), draws.reached(data.test, data.shape)
    parts = []
    if data.shape != MANY_TO_ONE:
        where = ", ".join(map(str, steps))
        parts.append(
            f"answers at {'target' if data.shape == TO_SEQUENCE else 'step'} {where} of"
            f" 0-{data.test.y.shape[1] - 1}"
        )
    if share < 0.995:
        parts.append(f"only steps at which {draws.FEWEST} sequences answer, {share:.0%} of the answers")
    return "".join(f"; {part}" for part in parts)


def figures(task: Task, data: Data, model: Model, size: int) -> dict[str, float]:
    """The task's figures of the model's answers to the test part."""
    if type(task).figures is Task.figures:
        return {}
    given = answers(data, model, size)
    with named(task.name):
        return {name: float(value) for name, value in task.figures(data, given).items()}


@dataclass(frozen=True)
class Beside:
    """A trained network as a system, and the true one: largest exponents in nats a step, lag profiles as
    task.Truth has them.
    """

    own_lyapunov: float
    true_lyapunov: float
    own_profile: np.ndarray
    true_profile: np.ndarray

    @property
    def profile_rms_nats(self) -> float:
        """Root mean square difference of the profiles."""
        return float(np.sqrt(np.mean((self.own_profile - self.true_profile) ** 2)))


def beside_the_system(task: Task, data: Data, model: Model) -> Beside | None:
    """The network beside the system behind the data; None where there is none, or the cell cannot be called
    step by step.
    """
    with named(task.name):
        truth = task.truth(data)
    if truth is None or unsteppable(model.cell_itself):
        return None
    params = {k: v.detach().cpu().double().numpy() for k, v in model.cell.items()}
    weight, bias = (p.detach().cpu().double().numpy() for p in (model.head_weight, model.head_bias))
    own = identified(model.cell_itself, params, (weight, bias), data, truth.autonomous)
    lags = min(len(own.lag_profile), len(truth.lag_profile))
    return Beside(own.lyapunov, truth.lyapunov, own.lag_profile[:lags], truth.lag_profile[:lags])


def answers(data: Data, model: Model, size: int) -> np.ndarray:
    """Classes, or values, for the test part: (N,), (N, T) or, decoded greedily, (N, U)."""
    found = []
    with torch.no_grad():
        for batch in batches(data.test, size, model.device, shape=data.shape):
            if data.shape == TO_SEQUENCE:
                answer = model.decode(batch, data.test.y.shape[1]).T
            else:
                answer = model.answer(batch)
                answer = answer if data.classes is None else answer.argmax(-1)
                answer = answer if data.shape == MANY_TO_ONE else answer.transpose(0, 1)
            found.append(padded(answer[: batch.count].cpu().numpy(), data.test.y.shape))
    return np.concatenate(found)


def padded(answer: np.ndarray, like: tuple[int, ...]) -> np.ndarray:
    """As many steps as the targets have, zeros at the end: batches are cut to their longest sequence."""
    if answer.ndim < 2 or answer.shape[1] >= like[1] or len(like) == 1:
        return answer
    widths = [(0, 0), (0, like[1] - answer.shape[1]), *[(0, 0)] * (answer.ndim - 2)]
    return np.pad(answer, widths)
