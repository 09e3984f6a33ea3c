"""Answers drawn from a task's test part for a diagnosis: in each batch all sequences answer at the same step.

So nothing is padded: every sequence of a batch runs from its own first step to the answer. The loss over all
draws estimates the task's test loss.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..task import MANY_TO_ONE, TO_SEQUENCE, Data, Sequences
from .model import Model, moved_to_the_end, tensor

BATCHES, BATCH = 8, 64  # at most: batches, and answers in one
FEWEST = 16  # sequences that must answer at a step, or nothing could be exchanged between them


@dataclass(frozen=True)
class Draw:
    """The sequences (B,) of a batch, and the step of the target at which all of them answer."""

    rows: np.ndarray
    step: int


def answered(part: Sequences, shape: str) -> np.ndarray:
    """(N, T) whether a sequence has an answer at a step that counts: at its last step alone for many to one."""
    if shape == MANY_TO_ONE:
        return np.arange(part.x.shape[1]) == part.lengths[:, None] - 1
    assert part.scored is not None
    return part.scored


def reached(part: Sequences, shape: str) -> float:
    """Share of the answers that can be drawn."""
    count = answered(part, shape).sum(0)
    return float(count[count >= FEWEST].sum() / count.sum())


def draws(part: Sequences, shape: str, rng: np.random.Generator) -> list[Draw]:
    """Batches of random sequences at steps spread evenly over all answers, none twice; empty where no step
    has enough.
    """
    left = answered(part, shape).copy()
    count = left.sum(0)
    weight = count / np.clip(count, 1, BATCH)  # times the size of its batch: as often as it occurs
    found: list[Draw] = []
    for point in (np.arange(BATCHES) + rng.random()) / BATCHES:
        share = np.cumsum(weight * (left.sum(0) >= FEWEST))
        if not share[-1]:
            break
        step = int(np.searchsorted(share, point * share[-1], side="right"))
        rows = rng.permutation(np.flatnonzero(left[:, step]))[:BATCH]
        left[rows, step] = False
        found.append(Draw(rows, step))
    return found


def batch(data: Data, model: Model, draw: Draw) -> tuple[Tensor, Tensor]:
    """(x (T, B, I), y (B,) or (B, K)): what the model's recurrence gets up to the answer, and the target.

    For sequence to sequence x is the encoder's input and then the decoder's, (T, B, I + 1): a last column is
    0 and then 1.
    """
    part = data.test
    with torch.no_grad():
        if data.shape == TO_SEQUENCE:
            x = handed(part, model, draw)
        else:
            x = model.embedded(tensor(part.x[draw.rows, : draw.step + 1].swapaxes(0, 1), model.device))
    y = part.y[draw.rows] if data.shape == MANY_TO_ONE else part.y[draw.rows, draw.step]
    return x.to(model.dtype).cpu(), torch.from_numpy(y)


def handed(part: Sequences, model: Model, draw: Draw) -> Tensor:
    """The sources, ending together, and then the targets before the answer, as Model.answer takes both."""
    lengths = part.lengths[draw.rows]
    sources = moved_to_the_end(part.x[draw.rows], lengths)
    start = np.full((len(draw.rows), 1), len(model.head_bias))
    before = np.concatenate([start, part.y[draw.rows, : draw.step]], 1)
    first = model.embedded(tensor(sources.swapaxes(0, 1), model.device))
    second = model.target_embedding[tensor(before.swapaxes(0, 1), model.device)]
    flagged = [
        torch.cat([x, torch.full_like(x[..., :1], flag)], -1) for x, flag in ((first, 0.0), (second, 1.0))
    ]
    return torch.cat([x.to(model.dtype) for x in flagged])
