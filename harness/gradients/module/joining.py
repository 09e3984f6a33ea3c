"""Small batches of equal shape, joined, so that a pass serves many of them.

Each keeps a loss of its own (BatchLoss.parts), so that nothing is changed but the time that it takes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from .axes import joined_trees
from .batches import Batch
from .calls import REFUSED
from .inputs import Inputs
from .lengths import Lengths, by_length, find_lengths, with_starts
from .loss import BatchLoss
from .replay import OFF, OFF_NARROW, Replay
from .states import leaves

FEW = 4  # shapes, up to which sequences of different length are not joined
SMALL = 16  # sequences, from which on a batch is left alone
LARGEST = 128  # sequences of a joined batch

Part = tuple[Inputs, Any, tuple[int, ...]]  # x, target, and the sizes of the batches in them


@dataclass(frozen=True)
class Joined:
    """All batches, in fewer parts; lengths: where sequences of different length were joined."""

    parts: list[Part]
    lengths: Lengths | None = None

    def loss(self, loss: BatchLoss, part: Part, count: int) -> BatchLoss:
        """Of a part of so many samples."""
        x, _, sizes = part
        own = replace(loss.of(count), parts=sizes or (count,))
        return with_starts(own, self.lengths, x)


def joined(replay: Replay, loss: BatchLoss, pairs: list[Batch]) -> Joined:
    """The batches, those that are small and alike as one; single sequences also where their lengths differ.

    They are left as they are where the model does not answer to a joined batch as to each of its parts.
    """
    apart = None in loss.targets or loss.output.apart
    groups = [] if apart else _groups(pairs)
    if len(groups) > FEW and (lengths := find_lengths(replay, loss, pairs)):
        parts: list[Part] = [
            (*lengths.joined(loss, group), (1,) * len(group)) for group in by_length(lengths, pairs)
        ]
        return Joined(parts, lengths)
    alike = next((g for g in groups if len(g) > 1), None)
    axis = None if alike is None else _axis(replay, loss, alike[0], alike[1])
    if axis is None:
        return Joined([(x, target, ()) for x, target in pairs])
    return Joined([_joined(loss, part, axis) for group in groups for part in _cut(group, axis)])


def _groups(pairs: list[Batch]) -> list[list[Batch]]:
    """Alike in every shape and dtype, in the order of the first of each."""
    groups: dict[Any, list[Batch]] = {}
    for x, target in pairs:
        key = tuple((tuple(t.shape), t.dtype) for t in (*x.tensors, *leaves(target)))
        groups.setdefault(key, []).append((x, target))
    return list(groups.values())


def _axis(replay: Replay, loss: BatchLoss, first: Batch, second: Batch) -> int | None:
    """The axis of x on which the model takes two batches as one; None where there is none."""
    apart = [replay.output(x) for x, _ in (first, second)]
    counts = [loss.output.count(output) for output in apart]
    expected = loss.output.joined(apart, counts)
    allowed = OFF.get(expected.dtype, OFF_NARROW) * float(expected.abs().max())
    for axis in (0, 1):
        both = [first[0], second[0]]
        if any(
            t.ndim and t.shape[_of(axis, t)] != n
            for x, n in zip(both, counts, strict=True)
            for t in x.tensors
        ):
            continue
        try:
            together = replay.output(_cat(both, axis))
        except REFUSED:  # of a model that has its batches elsewhere
            continue
        if together.shape == expected.shape and float((together - expected).abs().max()) <= allowed:
            return axis
    return None


def _of(axis: int, tensor: Tensor) -> int:
    """The samples' axis: of lengths the only one."""
    return min(axis, tensor.ndim - 1)


def _cut(group: list[Batch], axis: int) -> list[list[Batch]]:
    first = group[0][0].first
    size = first.shape[_of(axis, first)]
    each = max(LARGEST // size, 1) if size < SMALL else 1
    return [group[k : k + each] for k in range(0, len(group), each)]


def _joined(loss: BatchLoss, part: list[Batch], axis: int) -> Part:
    if len(part) == 1:
        return (*part[0], ())
    first = part[0][0].first
    size = first.shape[_of(axis, first)]
    counts = [size] * len(part)
    target = loss.of(size).joined_targets([t for _, t in part], counts)
    return _cat([x for x, _ in part], axis), target, tuple(counts)


def _cat(batches: list[Inputs], axis: int) -> Inputs:
    def join(_: int, tensors: list[Tensor]) -> Tensor:
        return torch.cat(tensors, _of(axis, tensors[0])) if tensors[0].ndim else tensors[0]

    args, kwargs = joined_trees([(x.args, x.kwargs) for x in batches], join)
    return Inputs(args, kwargs)
