"""All batches of a diagnosis, one after the other."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .batches import Batch, cast, default_dtype, not_finite, take, undisturbed
from .combine import Examination, combine
from .copies import copied
from .features import band_edges
from .loss import BatchLoss, batch_loss
from .noise import Noise
from .observe import Observation, Observer, positions_of
from .recording import Recording
from .replay import Replay, double

CHUNKS = 16  # parts of the samples from which the gradient's noise is estimated


@dataclass(frozen=True)
class Options:
    """The caller's, as `diagnose` describes them."""

    batch_axis: int | None
    recurrent: str | None
    state: Any
    read_out: Callable | None
    trivial: float | None
    samples: int
    positions: int
    seed: int

    def replay(self, model: nn.Module) -> Replay:
        return Replay(model, self.recurrent, self.state, self.read_out, self.batch_axis)


def examine(model: nn.Module, loss: Callable, batches: Iterable, options: Options) -> Examination:
    """Everything but the verdict, in float64 where the model and the loss can be run in it."""
    if not isinstance(model, nn.Module):
        raise ValueError(f"model is a {type(model).__name__}; it must be a torch.nn.Module")
    if options.batch_axis not in (None, 0, 1):
        raise ValueError(
            f"batch_axis is {options.batch_axis!r}; it must be 0 or 1, the axis of x that holds the sequences"
        )
    with undisturbed():
        pairs = take(batches, options.samples, model, options.batch_axis)
        if name := not_finite(model):
            return Examination.broken(name)
        as_it_is = options.replay(copied(model))
        if _overflows(as_it_is, loss, pairs):
            return Examination.broken("the loss")
        try:
            with default_dtype(torch.float64):
                return _examined(options.replay(double(model)), loss, pairs, options)
        except (
            RuntimeError,
            ValueError,
        ) as error:  # a model or loss that holds on to float32 is diagnosed in that
            if not any(word in str(error) for word in ("dtype", "scalar type")):
                raise
        return _examined(options.replay(copied(model)), loss, pairs, options)


def _overflows(replay: Replay, loss: Callable, pairs: list[Batch]) -> bool:
    """Whether a loss is not finite in the model's own dtype, though it may be in float64."""
    for x, target in pairs:
        try:
            value = loss(replay.output(x), target)
        except (RuntimeError, ValueError):
            return False  # a loss for another dtype, or one that cannot be had: later steps say which
        if isinstance(value, Tensor) and not torch.isfinite(value).all():
            return True
    return False


def _examined(replay: Replay, loss: Callable, pairs: list[Batch], options: Options) -> Examination:
    """In the default dtype."""
    kind = torch.get_default_dtype()
    loss = copy.deepcopy(loss).to(kind) if isinstance(loss, nn.Module) else loss
    observer: Observer | None = None
    observations: list[Observation] = []
    for x, target in pairs:
        x, target = cast(x, kind), cast(target, kind)
        recording = replay.record(x)
        if observer is None:
            observer = _observer(replay, loss, recording, target, pairs, options)
        if name := _not_finite(observer.batch_loss, recording.output, target):
            return Examination.broken(name)
        observations.append(observer.observe(recording, x, target))
        if observations[-1].broken:
            return Examination.broken("the gradient of the state")
    assert observer is not None  # there is a batch at least
    return combine(
        observer.batch_loss,
        observations,
        observer.noise,
        observer.positions,
        options.trivial,
        options.seed,
    )


def _observer(
    replay: Replay,
    loss: Callable,
    recording: Recording,
    target: Tensor,
    pairs: list[Batch],
    options: Options,
) -> Observer:
    """For all batches, from the first: axes and positions are taken to be the same in each."""
    # the last step's output has no positions, though it may happen to be as wide as there are steps
    steps = 1 if replay.alone and replay.read_out is None else len(recording.steps)
    of_batch = batch_loss(loss, recording.output, target, recording.batch, steps, options.batch_axis)
    positions = positions_of(of_batch, recording.output, target, options.positions)
    bands = band_edges(_longest(replay, recording, pairs))
    chunks = max(-(-CHUNKS // len(pairs)), 1)
    rng = np.random.default_rng(options.seed)
    return Observer(replay, of_batch, positions, bands, Noise(len(bands)), chunks, rng)


def _longest(replay: Replay, recording: Recording, pairs: list[Batch]) -> int:
    """Steps of the longest batch; those of equal shape are as long as the first, which has been recorded."""
    others = [cast(x, torch.get_default_dtype()) for x, _ in pairs if x.shapes != pairs[0][0].shapes]
    return max([len(recording.steps), *(replay.steps(x) for x in others)])


def _not_finite(loss: BatchLoss, output: Tensor, target: Tensor) -> str:
    if not np.isfinite(loss.average(output, target)):
        return "the loss"
    if not torch.isfinite(loss.residuals(output, target)).all():
        return "the loss's gradient at the output"
    return ""
