"""The rise of the loss when inputs are exchanged between samples.

It is a finite change, so that it shows memories whose derivative is 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from .inputs import Inputs
from .loss import BatchLoss
from .replay import Replay


class Swaps:
    """Rises of the loss of one batch; forward passes are kept by the steps whose inputs they exchange."""

    def __init__(
        self,
        replay: Replay,
        batch_loss: BatchLoss,
        x: Inputs,
        target: Any,
        positions: list[int],
        ends: list[np.ndarray],
        count: int,
        rng: np.random.Generator,
    ) -> None:
        self.replay, self.batch_loss, self.x, self.target = replay, batch_loss, x, target
        # counted from each sequence's own end where they differ, as if all were as long as the longest
        self.places = [(p, int(end.max())) for p, end in zip(positions, ends, strict=True)]
        replay.ends = next((end for end in ends if end.min() < end.max()), None)
        self.order = torch.as_tensor(_derangement(count, rng), device=x.device)
        self.plain, self.trail = replay.output(x), replay.trail(x)
        self.loss = batch_loss.average(self.plain, target)
        self.outputs: dict[tuple[int, int], Tensor] = {}

    def rise(self, lags: tuple[int, int]) -> float:
        """Lowest to highest lag swapped together, summed over the loss's positions; NaN where none has it."""
        low, high = lags
        rises = [self._at(p, max(end - high, 0), end - low) for p, end in self.places if end >= low]
        return float(np.sum(rises)) if rises else float("nan")

    def _at(self, position: int, first: int, last: int) -> float:
        """The rise at one position when the inputs of steps first..last are swapped."""
        if (first, last) not in self.outputs:
            swap = dict.fromkeys(range(first, last + 1), self.order)
            self.outputs[first, last] = self.replay.output(self.x, swap, self.trail)
        axes = self.batch_loss.output
        rows = axes.rows(self.plain).clone()
        rows[:, position] = axes.rows(self.outputs[first, last])[:, position]
        return self.batch_loss.average(axes.like(rows, self.plain), self.target) - self.loss


def _derangement(count: int, rng: np.random.Generator) -> np.ndarray:
    """A permutation that leaves nothing where it was: one cycle through all, in random order."""
    cycle = rng.permutation(count)
    order = np.empty(count, int)
    order[cycle] = np.roll(cycle, 1)
    return order
