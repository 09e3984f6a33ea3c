"""Single sequences of different length, joined: padded in front, so that a pass serves many of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .axes import joined_trees
from .batches import Batch
from .calls import REFUSED
from .inputs import Inputs
from .loss import BatchLoss
from .replay import OFF, OFF_NARROW, Replay
from .states import leaves

LARGEST = 128  # sequences of a joined batch
NEAR = 16  # steps by which joined sequences may differ, if none is more than twice as long as another


@dataclass(frozen=True)
class Lengths:
    """Where single sequences have their steps: the axis by tensor of the inputs and of the target.

    None where a tensor has none. batch: the axis of samples of the inputs
    """

    inputs: tuple[int | None, ...]
    target: tuple[int | None, ...]
    batch: int

    def steps(self, x: Inputs) -> int:
        return next(t.shape[k] for t, k in zip(x.tensors, self.inputs, strict=True) if k is not None)

    def joined(self, loss: BatchLoss, pairs: list[Batch]) -> tuple[Inputs, Any]:
        """The batches as one, whose inputs have `starts`."""
        steps = [self.steps(x) for x, _ in pairs]
        most = max(steps)

        def join(k: int, tensors: list[Tensor]) -> Tensor:
            wide = [in_front(t, self.inputs[k], most - n) for t, n in zip(tensors, steps, strict=True)]
            return torch.cat(wide, min(self.batch, wide[0].ndim - 1)) if wide[0].ndim else wide[0]

        args, kwargs = joined_trees([(x.args, x.kwargs) for x, _ in pairs], join)
        targets = [
            joined_trees([t], lambda k, own, n=n: in_front(own[0], self.target[k], most - n))  # type: ignore[misc]
            for (_, t), n in zip(pairs, steps, strict=True)
        ]
        target = loss.of(1).joined_targets(targets, [1] * len(pairs))
        return Inputs(args, kwargs, most - np.array(steps)), target


def in_front(tensor: Tensor, axis: int | None, count: int) -> Tensor:
    """Padded with zeros."""
    if axis is None or not count:
        return tensor
    shape = list(tensor.shape)
    shape[axis] = count
    return torch.cat([tensor.new_zeros(shape), tensor], axis)


def find_lengths(replay: Replay, loss: BatchLoss, pairs: list[Batch]) -> Lengths | None:
    """None unless the model answers to joined sequences as to each alone: a try with three of them."""
    of_first = [(x.first.shape, k) for k, (x, _) in enumerate(pairs)]
    order = [k for _, k in sorted(of_first)]
    some = [pairs[k] for k in (order[0], order[len(order) // 2], order[-1])]
    inputs = _axes(some[0][0].tensors, some[-1][0].tensors)
    target = _axes(leaves(some[0][1]), leaves(some[-1][1]))
    if inputs is None or target is None or not any(k is not None for k in inputs) or _folds(loss):
        return None
    for batch in (0, 1):
        lengths = Lengths(inputs, target, batch)
        if all(_single(x, lengths) for x, _ in some) and _same(replay, loss, lengths, some):
            return lengths
    return None


def _folds(loss: BatchLoss) -> bool:
    return any(a is None or a.apart or a.folded is not None for a in (loss.output, *loss.targets))


def _axes(first: list[Tensor], second: list[Tensor]) -> tuple[int | None, ...] | None:
    """By tensor, the one axis in which two batches differ; None where they differ in another way."""
    found: list[int | None] = []
    for a, b in zip(first, second, strict=True):
        if a.ndim != b.ndim or a.dtype != b.dtype:
            return None
        differ = [k for k in range(a.ndim) if a.shape[k] != b.shape[k]]
        if len(differ) > 1:
            return None
        found.append(differ[0] if differ else None)
    return tuple(found)


def _single(x: Inputs, lengths: Lengths) -> bool:
    """Whether a batch is one sequence on that axis."""
    return all(
        not t.ndim or (t.shape[at := min(lengths.batch, t.ndim - 1)] == 1 and at != time)
        for t, time in zip(x.tensors, lengths.inputs, strict=True)
    )


def _same(replay: Replay, loss: BatchLoss, lengths: Lengths, some: list[Batch]) -> bool:
    alone = [replay.output(x) for x, _ in some]
    time = loss.output.time
    steps = [lengths.steps(x) for x, _ in some]
    if time is not None and [o.shape[time] for o in alone] != steps:
        return False
    try:
        x, _ = lengths.joined(loss, some)
        together = replay.output(x)
    except (*REFUSED, StopIteration):
        return False
    most = max(steps)
    for k, (output, n) in enumerate(zip(alone, steps, strict=True)):
        own = loss.output.chosen(together, torch.tensor([k]))
        own = own if time is None else own.narrow(time, most - n, n)
        allowed = OFF.get(output.dtype, OFF_NARROW) * float(output.abs().max())
        if own.shape != output.shape or float((own - output).abs().max()) > allowed:
            return False
    return True


def by_length(lengths: Lengths, pairs: list[Batch]) -> list[list[Batch]]:
    """Groups of about equal length, the longest first."""
    groups: list[list[Batch]] = []
    for pair in sorted(pairs, key=lambda p: -lengths.steps(p[0])):
        most = lengths.steps(groups[-1][0][0]) if groups else 0
        own = lengths.steps(pair[0])
        if not groups or len(groups[-1]) >= LARGEST or most - own > max(NEAR, own):
            groups.append([])
        groups[-1].append(pair)
    return groups


def with_starts(loss: BatchLoss, lengths: Lengths | None, x: Inputs) -> BatchLoss:
    """The loss of a joined batch, which leaves out the padding in front."""
    if x.starts is None or lengths is None:
        return loss
    if loss.output.position is None and all(k is None for k in lengths.target):
        return loss
    return replace(loss, starts=tuple(int(n) for n in x.starts), times=lengths.target)
