"""What the loss makes of inputs exchanged between samples: a finite change, so that it shows memories whose
derivative is 0.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .loss import Outcome
from .replay import Replay


class Swaps:
    """The rise of the loss when inputs are exchanged between samples; forward passes are kept by the steps
    they exchange.
    """

    def __init__(
        self,
        replay: Replay,
        outcome: Outcome,
        x: Tensor,
        target: Tensor,
        positions: list[int],
        ends: list[int],
        count: int,
        rng: np.random.Generator,
    ) -> None:
        self.replay, self.outcome, self.x, self.target = replay, outcome, x, target
        self.places = list(zip(positions, ends, strict=True))
        self.order = torch.as_tensor(_moved(count, rng), device=x.device)
        self.plain, self.trail = replay.output(x), replay.trail(x)
        self.loss = outcome.average(self.plain, target)
        self.kept: dict[tuple[int, int], Tensor] = {}

    def rise(self, lags: tuple[int, int]) -> float:
        """Lowest to highest lag swapped together; summed over the positions of the loss. NaN where none has
        such a lag.
        """
        rises = [
            self._one(p, max(end - lags[1], 0), end - lags[0]) for p, end in self.places if end >= lags[0]
        ]
        return float(np.sum(rises)) if rises else float("nan")

    def _one(self, position: int, first: int, last: int) -> float:
        if (first, last) not in self.kept:
            swap = dict.fromkeys(range(first, last + 1), self.order)
            self.kept[first, last] = self.replay.output(self.x, swap, self.trail)
        form = self.outcome.output
        rows = form.rows(self.plain).clone()
        rows[:, position] = form.rows(self.kept[first, last])[:, position]
        return self.outcome.average(form.like(rows, self.plain), self.target) - self.loss


def _moved(count: int, rng: np.random.Generator) -> np.ndarray:
    """A permutation that leaves nothing where it was."""
    cycle = rng.permutation(count)
    order = np.empty(count, int)
    order[cycle] = np.roll(cycle, 1)
    return order
