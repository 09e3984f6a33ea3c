"""A trained model judged beyond its loss: its gradient diagnosed, its dynamics beside the true system's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..case import Case
from ..gradients import diagnose
from ..probe import cell_of
from ..task import MANY_TO_ONE, TO_SEQUENCE, Data, Task, named
from . import answers
from .arrays import Arrays
from .model import Model, Trainable
from .one_step import CellStep, EncoderDecoderStep, unsteppable
from .system import dynamics

# samples: a gradient that so many would show has not vanished, however short the training was
LEAST_SEEN = 1e6
NEARLY_ALL = 0.995  # a share of the answers that reads as 100 % and needs no remark


@dataclass(frozen=True)
class Finding:
    """A verdict's label and its line; without a verdict the label is None and the line says why."""

    label: str | None
    line: str


def verdict(case: Case, data: Data, model: Trainable, targets_seen: int) -> Finding:
    """The diagnosis of a model's answers to the test part, step by step in float64.

    targets_seen is how many targets its training has seen.
    """
    if not isinstance(model, Model):
        return none("a convolution has no state that a gradient could be followed through")
    if reason := unsteppable(cell_of(case)):
        return none(reason)
    draws = answers.draw(data.test, data.shape, np.random.default_rng([case.seed, 5]))
    if not draws:
        return none(f"no step of the test part has {answers.FEWEST} sequences that answer there")
    loss = torch.nn.functional.mse_loss if data.classes is None else torch.nn.functional.cross_entropy
    longest = max(one.step for one in draws)
    # the longest first: diagnose swaps inputs in the first batches alone, and there at all lags
    draws.sort(key=lambda one: one.step < longest)
    pairs, count = [answers.batch_of(data, model, one) for one in draws], sum(len(one.rows) for one in draws)
    seen = max(targets_seen, LEAST_SEEN)
    try:
        diagnosis = diagnose(
            recurrence(model), loss, pairs, samples=count, samples_seen=seen, floor=data.floor
        )
    except ValueError as error:  # a training is not lost for want of a verdict
        return none(str(error))
    return Finding(diagnosis.verdict.label, f"{diagnosis.verdict}{remarks(data, draws)}")


def none(reason: str) -> Finding:
    return Finding(None, f"no verdict: {reason}")


def recurrence(model: Model) -> CellStep | EncoderDecoderStep:
    """The model's own steps, on the CPU: of an encoder and a decoder as one recurrence."""

    def step(params: Arrays) -> CellStep:
        return CellStep(model.cell_itself, dict(params.items()), model.head_weight, model.head_bias)

    if model.shape == TO_SEQUENCE:
        return EncoderDecoderStep(step(model.cell), step(model.decoder)).cpu()
    return step(model.cell).cpu()


def remarks(data: Data, draws: list[answers.Draw]) -> str:
    """Which answers were looked at, where a sequence has several or not all could be drawn."""
    steps, share = sorted({one.step for one in draws}), answers.drawable_share(data.test, data.shape)
    lines = []
    if data.shape != MANY_TO_ONE:
        where = ", ".join(map(str, steps))
        kind, last = "target" if data.shape == TO_SEQUENCE else "step", data.test.y.shape[1] - 1
        lines.append(f"answers at {kind} {where} of 0-{last}")
    if share < NEARLY_ALL:
        lines.append(f"only steps at which {answers.FEWEST} sequences answer, {share:.0%} of the answers")
    return "".join(f"; {line}" for line in lines)


@dataclass(frozen=True)
class SystemComparison:
    """A trained network (own) beside the true system: exponents and lag profiles, as task.Truth has them."""

    own_lyapunov: float
    true_lyapunov: float
    own_profile: np.ndarray
    true_profile: np.ndarray

    @property
    def profile_rms_nats(self) -> float:
        """Root mean square difference of the profiles."""
        return float(np.sqrt(np.mean((self.own_profile - self.true_profile) ** 2)))


def compared_with_system(task: Task, data: Data, model: Model) -> SystemComparison | None:
    """The network beside the system behind the data, over the lags that both profiles have.

    None where there is no system, for a stack, and where the cell cannot be called step by step.
    """
    with named(task.name):
        truth = task.truth(data)
    if truth is None or model.cell_itself.stacked or unsteppable(model.cell_itself):
        return None
    params = {k: v.detach().cpu().double().numpy() for k, v in model.cell.items()}
    weight, bias = (p.detach().cpu().double().numpy() for p in (model.head_weight, model.head_bias))
    own = dynamics(model.cell_itself, params, (weight, bias), data, truth.autonomous)
    lags = min(len(own.lag_profile), len(truth.lag_profile))
    return SystemComparison(own.lyapunov, truth.lyapunov, own.lag_profile[:lags], truth.lag_profile[:lags])
