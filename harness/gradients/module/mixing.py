"""Is a batch's loss a mean, or a sum, of its samples' losses? A test that takes the batch apart.

Where it is, the gradient at a sample's output is the same, up to one factor for all, without the other
samples. A loss that fails (a broadcast of (B, 1) against (B,), a contrastive loss, one of sorted samples, a
normalised batch) has no loss of a sample, and nothing that is a mean over samples can be said of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .loss import REFUSALS, BatchLoss
from .states import leaves

SPLITS = 3  # random halves that are tried
OFF = {torch.float64: 1e-6}  # of a gradient's norm, by which a part may differ
OFF_NARROW = 2e-3


class SamplesMixed(Exception):
    """The loss of a batch is no mean of losses of its samples; the message says how it mixes them."""


@dataclass(frozen=True)
class Half:
    """Of a batch in which it makes `share` of the samples.

    factor   by which its gradient alone is multiplied in the whole batch; None where it has no gradient
    error    what is left of the whole's gradient then, as a share of it
    loss     of the half alone; whole: of the batch
    """

    share: float
    factor: float | None
    error: float
    loss: float
    whole: float


def reduction(loss: BatchLoss, output: Tensor, target: Any) -> BatchLoss:
    """The loss with what a test of one batch shows: `mean`, `even` and `divisible`.

    A root of a mean or of a sum, such as the RMSE, is squared: the gradients of both are parallel.
    Raises SamplesMixed, and ValueError for a loss that is none of these.
    """
    count = loss.output.count(output)
    if count < 2:
        return loss
    whole_only = None in loss.targets
    halves = [] if whole_only else _halves(loss, output, target)
    if halves is None or whole_only:
        _replaced(loss, output, target)
        return replace(loss, divisible=False)
    off = OFF.get(output.dtype, OFF_NARROW)
    if any(h.error > off for pair in halves for h in pair):
        raise SamplesMixed(_how(loss, output, target, max(h.error for pair in halves for h in pair)))
    kinds = {kind for pair in halves if (kind := _kind(pair, off)) is not None}
    if not kinds:  # no half has a loss of its own, or all are 0: a mean is the usual thing
        return loss
    if len(kinds) > 1 or kinds == {"neither"}:
        if not loss.root and all(min(h.loss, h.whole) >= 0 for pair in halves for h in pair):
            return _of_root(loss, output, target, _neither(halves[0]))
        raise ValueError(_neither(halves[0]))
    if kinds == {"sum"}:
        return replace(loss, mean=False)
    even = all(h.factor is None or abs(h.factor - h.share) < off for pair in halves for h in pair)
    return replace(loss, even=even)


def _of_root(loss: BatchLoss, output: Tensor, target: Any, otherwise: str) -> BatchLoss:
    """The loss's square, where that is a mean or a sum; else ValueError with these words."""

    def squared(*arguments: Any) -> Tensor:
        return loss.loss(*arguments).square()

    try:
        return reduction(replace(loss, loss=squared, root=True), output, target)
    except (SamplesMixed, ValueError):
        raise ValueError(otherwise) from None


def _halves(loss: BatchLoss, output: Tensor, target: Any) -> list[tuple[Half, Half]] | None:
    """Random halves at the model's answers, and at the same shuffled; None where a part has no loss."""
    count = loss.output.count(output)
    generator = torch.Generator().manual_seed(0)
    shuffled = loss.output.chosen(output, torch.randperm(count, generator=generator))
    pairs = []
    for answers in [output] * SPLITS + [shuffled]:
        order = torch.randperm(count, generator=generator)
        parts = order[: count // 2].sort().values, order[count // 2 :].sort().values
        whole = _gradient(loss, answers, target)
        if whole is None:
            continue
        try:
            pair = [_half(loss, answers, target, part, *whole) for part in parts]
        except REFUSALS:
            return None
        if pair[0] is not None and pair[1] is not None:
            pairs.append((pair[0], pair[1]))
    return pairs


def _half(
    loss: BatchLoss, output: Tensor, target: Any, part: Tensor, whole: Tensor, loss_of_whole: float
) -> Half | None:
    """None where its loss, or its gradient, is not finite: a half of which every target is ignored."""
    own = _gradient(loss.part(part), *loss.chosen(output, target, part))
    if own is None:
        return None
    gradient, value = own
    factor, error = _fit(whole[part.to(whole.device)], gradient)
    return Half(len(part) / len(whole), factor, error, value, loss_of_whole)


def _gradient(loss: BatchLoss, output: Tensor, target: Any) -> tuple[Tensor, float] | None:
    """((B, n) gradient at the output, loss) in double precision; None where either is not finite."""
    leaf = output.detach().requires_grad_()
    with torch.enable_grad():
        value = loss.loss(leaf, target)
        if not value.requires_grad:
            return None
        (gradient,) = torch.autograd.grad(value, leaf)
    if not torch.isfinite(gradient).all() or not torch.isfinite(value):
        return None
    return loss.output.rows(gradient).flatten(1).double(), float(value.detach())


def _fit(whole: Tensor, alone: Tensor) -> tuple[float | None, float]:
    """The factor of the gradient alone that is nearest to the whole's, and the share that it misses."""
    size, own = float(whole.norm()), float(alone.norm())
    if own == 0 or size == 0:
        return None, float(size != own and size > 0)
    factor = float((whole / size * (alone / own)).sum()) * size / own
    return factor, float((whole - factor * alone).norm()) / size


def _kind(pair: tuple[Half, Half], off: float) -> str | None:
    """mean, sum or neither, by the factors of two halves; None where they do not tell."""
    a, b, whole = pair[0].factor, pair[1].factor, pair[0].whole
    if a is None or b is None:
        known = b if a is None else a
        if known is None or pair[0].loss == pair[1].loss:
            return None
        if abs(known - 1) > off:
            return "mean" if 0 < known < 1 else "neither"
        return "sum" if abs(pair[0].loss + pair[1].loss - whole) <= off * abs(whole) else "mean"
    if abs(a - 1) < off and abs(b - 1) < off:
        return "sum"
    weighed = a * pair[0].loss + b * pair[1].loss  # a logarithm of a mean has the factors of a mean alone
    size = max(abs(whole), abs(pair[0].loss), abs(pair[1].loss))
    return "mean" if abs(a + b - 1) < off and abs(weighed - whole) <= off * size else "neither"


def _neither(pair: tuple[Half, Half]) -> str:
    a, b = (0.0 if h.factor is None else h.factor for h in pair)
    return (
        f"two halves of a batch weigh {a:.4g} and {b:.4g} in its loss; it must be a mean or a sum over the"
        " samples (weights that add up to 1, or 1 each), or a root of one, so give the loss without a"
        " logarithm or a factor of the batch's size around its mean"
    )


def _replaced(loss: BatchLoss, output: Tensor, target: Any) -> None:
    """The test for a loss that takes no part of a batch: half of the samples stand in for the others."""
    count = loss.output.count(output)
    kept = torch.arange(count // 2)
    index = torch.cat([kept, kept, kept])[:count]
    whole = _gradient(loss, output, target)
    try:
        other = _gradient(loss, *loss.chosen(output, target, index))
    except REFUSALS:
        return
    if whole is None or other is None:
        return
    _, error = _fit(whole[0][kept], other[0][kept])
    if error > OFF.get(output.dtype, OFF_NARROW):
        raise SamplesMixed(_how(loss, output, target, error))


def _how(loss: BatchLoss, output: Tensor, target: Any, error: float) -> str:
    """In plain words; a broadcast is named with the change that mends it."""
    tensors = leaves(target)
    if len(tensors) == 1 and (found := _broadcast(loss, output, tensors[0])):
        return found
    line = (
        f"the gradient at a sample's output changes by {100 * min(error, 1):.2g} % when half of the batch is"
        " left out, so that no sample has a loss of its own"
    )
    if _blind(loss, output, target):
        line += "; the loss is the same when the outputs are shuffled against the targets"
    return (
        f"{line}; diagnose judges means over samples: give a loss of each sample alone (pairs and triplets"
        " made beforehand, in x)"
    )


def _blind(loss: BatchLoss, output: Tensor, target: Any) -> bool:
    """Whether the loss does not care which output stands beside which target."""
    order = torch.as_tensor(np.roll(np.arange(loss.output.count(output)), 1))
    with torch.no_grad():
        before = float(loss.loss(output, target))
        after = float(loss.loss(loss.output.chosen(output, order), target))
    return abs(after - before) <= OFF.get(output.dtype, OFF_NARROW) * abs(before)


def _broadcast(loss: BatchLoss, output: Tensor, target: Tensor) -> str:
    """The words for an output and a target that are spread over each other; else empty."""
    shapes = tuple(output.shape), tuple(target.shape)
    try:
        wide = tuple(torch.broadcast_shapes(*shapes))
    except RuntimeError:
        return ""
    if (wide in shapes and wide == shapes[0] == shapes[1]) or output.numel() != target.numel():
        return ""
    with torch.no_grad():
        try:
            spread = float(loss.loss(output.expand(wide), target.expand(wide)))
            given = float(loss.loss(output, target))
        except REFUSALS:
            return ""
    if abs(spread - given) > OFF.get(output.dtype, OFF_NARROW) * max(abs(given), 1e-30):
        return ""
    return (
        f"output {shapes[0]} against target {shapes[1]} is broadcast to {wide}; use {_mend(*shapes)}, or"
        " every output is drawn to the mean of all targets"
    )


def _mend(output: tuple[int, ...], target: tuple[int, ...]) -> str:
    for k in range(len(output)):
        if output[k] == 1 and output[:k] + output[k + 1 :] == target:
            return f"output.squeeze({k})"
    for k in range(len(target)):
        if target[k] == 1 and target[:k] + target[k + 1 :] == output:
            return f"target.squeeze({k})"
    return "target.reshape(output.shape)"
