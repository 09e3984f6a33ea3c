"""All batches of a diagnosis, one after the other."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .batches import Batch, cast, default_dtype, not_finite, take, undisturbed
from .combine import Examination, combine
from .copies import copied, plain
from .copies import notes as eval_notes
from .features import band_edges
from .finite import Trouble, trouble
from .handed import TENSOR, Handed, find_handed
from .inputs import Inputs, own_loss
from .joining import Joined, Part, joined
from .layers import FUSED
from .loss import BatchLoss, Layout, LossRefused, batch_loss
from .mixing import SamplesMixed, reduction
from .noise import Noise
from .observe import Observation, Observer
from .pullback import sample_rows
from .recording import Recording
from .replay import Replay, double
from .signs import SignOfLife

HIDDEN = (
    "no step's state is to be seen (there is none, or it is in a loop of tensors or in a scripted module):"
    " norms by lag are those at the model's input, gradient_norm and saturation are not measured; put the"
    " step into a module"
)
AFTER = "inputs after the step of an answer, which the backward direction reads, are not scored"
ROOT = "the loss is a root of a mean, so its square is judged, and its losses are squares"
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
    handed: Handed = TENSOR

    def replay(self, model: nn.Module) -> Replay:
        return Replay(model, self.recurrent, self.state, self.read_out, self.batch_axis, self.handed)


def examine(model: nn.Module, loss: Callable, batches: Iterable, options: Options) -> Examination:
    """Everything but the verdict, in float64 where the model and the loss can be run in it."""
    if not isinstance(model, nn.Module):
        raise ValueError(f"model is a {type(model).__name__}; it must be a torch.nn.Module")
    if options.batch_axis not in (None, 0, 1):
        raise ValueError(
            f"batch_axis is {options.batch_axis!r}; it must be 0 or 1, the axis of x that holds the sequences"
        )
    with undisturbed(), _told_of_own_loss(model):
        pairs = take(batches, options.samples, model, options.batch_axis)
        if name := not_finite(model):
            return Examination.without(broken=name)
        options = replace(options, handed=_handed(model, loss, options, *pairs[0]))
        found = _troubles(options.replay(copied(model)), loss, pairs, options)
        if early := _ended(found):
            return early
        notes = [*eval_notes(plain(model)), *(t.text for t in found if t is not None and t.kind == "loss")]
        pairs = [pair for pair, t in zip(pairs, found, strict=True) if t is None or t.kind != "loss"]
        examination = _in_double(model, loss, pairs, options, notes)
        overflow = next((t.text for t in found if t is not None and t.kind == "backward"), "")
        return (
            replace(examination, numbers=examination.numbers | {"broken": overflow})
            if overflow
            else examination
        )


@contextmanager
def _told_of_own_loss(model: nn.Module) -> Iterator[None]:
    """A loss that refuses its arguments is told what a model does that computes its own."""
    try:
        yield
    except LossRefused as error:
        raise LossRefused(f"{error}{own_loss(model)}") from error


def _handed(model: nn.Module, loss: Callable, options: Options, x: Inputs, target: Any) -> Handed:
    """By the first batch, in the model's own dtype, or in float64 where it does not run in that."""
    try:
        return find_handed(loss, options.replay(copied(model)).returned(x), target)
    except (RuntimeError, ValueError, TypeError):
        kind = torch.float64
    try:
        with default_dtype(kind):
            returned = options.replay(double(model)).returned(cast(x, kind))
            return find_handed(loss, returned, cast(target, kind))
    except (RuntimeError, ValueError, TypeError):  # later steps say what is wrong
        return TENSOR


def _troubles(replay: Replay, loss: Callable, pairs: list[Batch], options: Options) -> list[Trouble | None]:
    """Of each batch, in the model's own dtype."""
    call = options.handed.loss(loss)
    told = [_told(replay, options, x, target) for x, target in pairs]
    return [trouble(replay, call, x, target, number) for number, (x, target) in enumerate(told)]


def _told(replay: Replay, options: Options, x: Inputs, target: Any) -> Batch:
    """A batch whose target has what else the loss takes of that which the model returns."""
    returned = replay.returned(x) if options.handed.whole else None
    return x, options.handed.target(returned, target)


def _ended(found: list[Trouble | None]) -> Examination | None:
    """The examination where what is not finite leaves nothing to measure."""
    known = [t for t in found if t is not None]
    for kind, word in (("forward", "broken"), ("undefined", "undefined")):
        if texts := [t.text for t in known if t.kind == kind]:
            return Examination.without(**{word: texts[0]})
    alone = [t.text for t in known if t.kind == "loss"]
    if len(alone) == len(found):
        return Examination.without(undefined=f"the loss of every batch is not finite; {alone[0]}")
    return None


def _in_double(
    model: nn.Module, loss: Callable, pairs: list[Batch], options: Options, notes: list[str]
) -> Examination:
    try:
        with default_dtype(torch.float64):
            return _judged(options.replay(double(model)), loss, pairs, options, notes)
    except (RuntimeError, ValueError) as error:  # one that holds on to float32 is diagnosed in that
        if not any(word in str(error) for word in ("dtype", "scalar type")):
            raise
    return _judged(options.replay(copied(model)), loss, pairs, options, notes)


def _judged(
    replay: Replay, loss: Callable, pairs: list[Batch], options: Options, notes: list[str]
) -> Examination:
    try:
        return _examined(replay, loss, pairs, options, notes)
    except SamplesMixed as error:
        return Examination.without(mixes=str(error), notes=tuple(notes))


def _examined(
    replay: Replay, loss: Callable, pairs: list[Batch], options: Options, notes: list[str]
) -> Examination:
    """In the default dtype."""
    kind = torch.get_default_dtype()
    of_batch = options.handed.loss(copy.deepcopy(loss).to(kind) if isinstance(loss, nn.Module) else loss)
    pairs = [_told(replay, options, cast(x, kind), cast(target, kind)) for x, target in pairs]
    first = replay.record(pairs[0][0])
    judged = _reduced(
        batch_loss(of_batch, first.output, pairs[0][1], _layout(replay, first, options)), first, pairs
    )
    notes = [*notes, *_unseen(first, judged)]
    whole = joined(replay, judged, pairs)
    if judged.output.count(first.output) == 1:
        judged = _of_singles(replay, judged, whole)
    notes = [*notes, *([ROOT] if judged.root else [])]
    observer = _observer(replay, whole.parts, options)
    observations: list[Observation] = []
    for number, part in enumerate(whole.parts):
        x, target, _ = part
        observer.sign.start(number + 1)
        recording = first if x is pairs[0][0] else replay.record(x)
        of_part = whole.loss(judged, part, recording.batch)
        if name := _not_finite(of_part, recording.output, target):
            return Examination.without(broken=f"{name} of batch {number}")
        observations.append(observer.observe(of_part, recording, x, target))
        if observations[-1].broken:
            return Examination.without(broken="the gradient of the state")
    trivial = options.trivial if options.trivial is None or not judged.root else options.trivial**2
    found = combine(observations, observer.noise, trivial, options.seed, notes)
    return replace(found, root=judged.root)


def _unseen(recording: Recording, loss: BatchLoss) -> list[str]:
    """What of the model is not looked at, in words."""
    notes = [] if recording.main[0].nodes else [HIDDEN]
    part = recording.main[0].part
    if (starts := max(c.call for c in recording.chains if c.part == part)) > 1:
        name = part or "the model"
        notes.append(
            f"{name} starts {starts} times from a fresh state in a forward; lags are of its first run"
        )
    if loss.output.position is not None and any(c.direction == "reverse" for c in recording.main):
        notes.append(AFTER)
    return notes


def _layout(replay: Replay, recording: Recording, options: Options) -> Layout:
    # the last step's output has no positions, though it may happen to be as wide as there are steps
    steps = 1 if replay.alone and replay.read_out is None else len(recording.steps)
    module = replay.recurrent
    likely = 1 - int(module.batch_first) if isinstance(module, FUSED) else None
    return Layout(
        recording.batch,
        steps,
        options.batch_axis,
        likely,
        recording.main[0].packing,
        lambda row: _sample_of_row(recording, row),
    )


def _sample_of_row(recording: Recording, row: int) -> int:
    """The first sample whose states reach the row."""
    kept = [k for node in recording.cut.nodes if node.batch == recording.batch for k in node.kept]
    end = recording.output[row].sum()
    found = torch.autograd.grad(end, kept, retain_graph=True, allow_unused=True)
    reached = [
        int(sample_rows(g, recording.batch).abs().sum(1).argmax())
        for g in found
        if g is not None and bool((g != 0).any())
    ]
    return min(reached, default=0)


def _reduced(loss: BatchLoss, recording: Recording, pairs: list[Batch]) -> BatchLoss:
    """The loss with what the first batch shows of it."""
    return reduction(loss, recording.output.detach(), pairs[0][1])


def _of_singles(replay: Replay, loss: BatchLoss, whole: Joined) -> BatchLoss:
    """The loss of batches of one sequence, by what the first that holds several of one length shows.

    Where it is no even mean of them, each sequence has the loss that it has alone.
    """
    for part in whole.parts:
        x, target, sizes = part
        output = replay.output(x)
        own = whole.loss(loss, part, sum(sizes) if sizes else loss.output.count(output))
        several = next((a for a in own.alike(output, target) if a[0].output.count(a[1]) > 1), None)
        if several is None:
            continue
        try:
            found = reduction(*several)
        except (SamplesMixed, ValueError):
            if not sizes:
                raise
            return replace(loss, single=True)
        if found.root and sizes:  # each has a root of its own
            return replace(loss, single=True)
        single = found.mean and not found.even
        return replace(loss, loss=found.loss, root=found.root, mean=found.mean, single=single)
    return replace(loss, single=True)


def _observer(replay: Replay, parts: list[Part], options: Options) -> Observer:
    """For all batches."""
    bands = band_edges(max(_lengths(replay, parts)))
    chunks = max(-(-CHUNKS // len(parts)), 1)
    rng = np.random.default_rng(options.seed)
    sign = SignOfLife(len(parts))
    return Observer(replay, options.positions, bands, Noise(len(bands)), chunks, rng, sign)


def _lengths(replay: Replay, parts: list[Part]) -> list[int]:
    """Steps of each shape of batch."""
    shapes = {tuple(x.shapes): x for x, _, _ in parts}
    return [replay.steps(x) for x in shapes.values()]


def _not_finite(loss: BatchLoss, output: Tensor, target: Any) -> str:
    if not np.isfinite(loss.average(output, target)):
        return "the loss"
    if not torch.isfinite(loss.residuals(output, target)).all():
        return "the loss's gradient at the output"
    return ""
