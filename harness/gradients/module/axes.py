"""Where outputs and targets have their samples and their positions in time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from .states import leaves, mapped


@dataclass(frozen=True)
class Axes:
    """Where a tensor has its samples, and where its positions in time if it has one for every step.

    folded   the number of samples, where samples and positions share the first axis: (B T, ...), or
             (T B, ...) where samples is 1; None where each has its own
    single   whether there is no axis of samples: all of it is of one sample
    packed   of sequences one after the other in their packed order, (2, N): sample and position of each row
    """

    samples: int
    position: int | None
    folded: int | None = None
    single: bool = False
    packed: Tensor | None = None

    def unfolded(self, tensor: Tensor) -> Tensor:
        """With an axis of samples of its own."""
        if self.single:
            return tensor[None]
        if self.packed is not None:
            count, steps = (int(n) + 1 for n in self.packed.amax(1))
            padded = tensor.new_zeros((count, steps, *tensor.shape[1:]))
            return padded.index_put((self.packed[0], self.packed[1]), tensor)
        if self.folded is None:
            return tensor
        sizes = (self.folded, -1) if self.samples == 0 else (-1, self.folded)
        return tensor.reshape(*sizes, *tensor.shape[1:])

    def count(self, tensor: Tensor) -> int:
        """Samples."""
        return self.unfolded(tensor).shape[self.samples]

    def rows(self, tensor: Tensor) -> Tensor:
        """(B, P, K): P is 1 where there are no positions."""
        first = self.unfolded(tensor).movedim(self.samples, 0)
        if self.position is None:
            return first.reshape(len(first), 1, -1)
        first = first.movedim(self.position, 1)
        return first.reshape(*first.shape[:2], -1)

    def like(self, rows: Tensor, tensor: Tensor) -> Tensor:
        """The reverse: rows (B, P, K) with the tensor's own axes."""
        first = self.unfolded(tensor).movedim(self.samples, 0)
        if self.position is None:
            back = rows.reshape(first.shape).movedim(0, self.samples)
        else:
            moved = rows.reshape(first.movedim(self.position, 1).shape).movedim(1, self.position)
            back = moved.movedim(0, self.samples)
        if self.packed is not None:
            return back[self.packed[0], self.packed[1]]
        return back.reshape(tensor.shape)

    @property
    def time(self) -> int | None:
        """The tensor's own axis of positions."""
        if self.position is None:
            return None
        return self.position if self.position > self.samples else self.position - 1

    @property
    def apart(self) -> bool:
        """Whether tensors of several batches cannot be joined."""
        return self.single or self.packed is not None

    def of(self, count: int) -> Axes:
        """The same of a batch of so many samples."""
        return self if self.folded is None else Axes(self.samples, self.position, count)

    def part(self, which: Tensor) -> Axes:
        """The same of some samples alone."""
        if self.packed is None:
            return self.of(len(which))
        kept, places = self._kept(which)
        return replace(self, packed=torch.stack([places, self.packed[1][kept]]))

    def _kept(self, which: Tensor) -> tuple[Tensor, Tensor]:
        """The rows of some samples, and the samples' new numbers."""
        assert self.packed is not None
        number = torch.full((int(self.packed[0].max()) + 1,), -1)
        number[which] = torch.arange(len(which))
        kept = number[self.packed[0]] >= 0
        return kept, number[self.packed[0]][kept]

    def chosen(self, tensor: Tensor, which: Tensor) -> Tensor:
        """Some samples alone."""
        if self.packed is not None:
            return tensor[self._kept(which)[0].to(tensor.device)]
        part = self.unfolded(tensor).index_select(self.samples, which.to(tensor.device))
        if self.single and len(which) == 1:
            return part[0]
        return part if self.folded is None else part.flatten(0, 1)

    def joined(self, tensors: list[Tensor], counts: list[int]) -> Tensor:
        """The samples of several tensors, so many of each, one after the other."""
        whole = torch.cat(
            [self.of(n).unfolded(t) for t, n in zip(tensors, counts, strict=True)], self.samples
        )
        return whole if self.folded is None else whole.flatten(0, 1)


def of_targets(target: Any, choose: Callable[[Tensor, Axes], Tensor], axes: list[Axes | None]) -> Any:
    """The same tree with each tensor that has samples changed."""
    each = iter(axes)

    def change(tensor: Tensor) -> Tensor:
        own = next(each)
        return tensor if own is None else choose(tensor, own)

    return mapped(target, change)


def joined_trees(trees: list[Any], join: Callable[[int, list[Tensor]], Tensor]) -> Any:
    """One tree of several alike; join(k, tensors) makes its k-th tensor."""
    columns = list(zip(*(leaves(tree) for tree in trees), strict=True))
    each = iter(enumerate(columns))

    def change(_: Tensor) -> Tensor:
        k, tensors = next(each)
        return join(k, list(tensors))

    return mapped(trees[0], change)
