"""A model's answers to the test part: all of them for the task's figures, or some drawn for a diagnosis.

In each batch that is drawn all sequences answer at the same step. So nothing is padded: every sequence runs
from its own first step to the answer. The loss over all draws estimates the task's test loss.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..task import MANY_TO_ONE, TO_SEQUENCE, Data, Sequences, Task, named
from .model import Model, batches, moved_to_the_end, tensor

BATCHES, BATCH = 8, 64  # at most: batches, and answers in one
FEWEST = 16  # sequences that must answer at a step, or nothing could be exchanged between them


@dataclass(frozen=True)
class Draw:
    """The sequences (B,) of a batch, and the step of the target at which all of them answer."""

    rows: np.ndarray
    step: int


def answered(part: Sequences, shape: str) -> np.ndarray:
    """(N, T) whether a sequence's answer at a step counts: for many to one that at its last step alone."""
    if shape == MANY_TO_ONE:
        return np.arange(part.x.shape[1]) == part.lengths[:, None] - 1
    assert part.scored is not None
    return part.scored


def drawable_share(part: Sequences, shape: str) -> float:
    """Share of the answers that can be drawn: those at steps where enough sequences answer."""
    count = answered(part, shape).sum(0)
    return float(count[count >= FEWEST].sum() / count.sum())


def draw(part: Sequences, shape: str, rng: np.random.Generator) -> list[Draw]:
    """Batches of random sequences at steps spread evenly over all answers, none twice.

    Empty where no step has enough sequences.
    """
    open_answers = answered(part, shape).copy()
    count = open_answers.sum(0)
    # A step's batch holds up to BATCH answers. Drawn in proportion to count / (size of its batch), a step has
    # in all draws together as many answers as it occurs, so that the loss is that of the test part.
    weight = count / np.clip(count, 1, BATCH)
    draws: list[Draw] = []
    for point in (np.arange(BATCHES) + rng.random()) / BATCHES:  # one offset for all: spread evenly
        share = np.cumsum(weight * (open_answers.sum(0) >= FEWEST))
        if not share[-1]:
            break
        step = int(np.searchsorted(share, point * share[-1], side="right"))
        rows = rng.permutation(np.flatnonzero(open_answers[:, step]))[:BATCH]
        open_answers[rows, step] = False
        draws.append(Draw(rows, step))
    return draws


def batch_of(data: Data, model: Model, drawn: Draw) -> tuple[Tensor, Tensor]:
    """(x (T, B, I), y (B,) or (B, K)): what the model's recurrence gets up to the answer, and the target.

    For sequence to sequence x is the encoder's input and then the decoder's, (T, B, I + 1): a last column is
    0 and then 1.
    """
    part = data.test
    with torch.no_grad():
        if data.shape == TO_SEQUENCE:
            x = source_and_targets(part, model, drawn)
        else:
            x = model.embedded(tensor(part.x[drawn.rows, : drawn.step + 1].swapaxes(0, 1), model.device))
    y = part.y[drawn.rows] if data.shape == MANY_TO_ONE else part.y[drawn.rows, drawn.step]
    return x.to(model.dtype).cpu(), torch.from_numpy(y)


def source_and_targets(part: Sequences, model: Model, drawn: Draw) -> Tensor:
    """The sources, ending together, and then the targets before the answer, as Model.answer takes both."""
    lengths = part.lengths[drawn.rows]
    sources = moved_to_the_end(part.x[drawn.rows], lengths)
    start = np.full((len(drawn.rows), 1), len(model.head_bias))
    before = np.concatenate([start, part.y[drawn.rows, : drawn.step]], 1)
    encoder = model.embedded(tensor(sources.swapaxes(0, 1), model.device))
    decoder = model.target_embedding[tensor(before.swapaxes(0, 1), model.device)]
    flagged = [
        torch.cat([x, torch.full_like(x[..., :1], flag)], -1) for x, flag in ((encoder, 0.0), (decoder, 1.0))
    ]
    return torch.cat([x.to(model.dtype) for x in flagged])


def figures(task: Task, data: Data, model: Model, size: int) -> dict[str, float]:
    """The task's figures of the model's answers to the test part, in batches of `size`."""
    if (
        type(task).figures is Task.figures
    ):  # a task without figures: decoding every answer would be for nothing
        return {}
    given = answers(data, model, size)
    with named(task.name):
        return {name: float(value) for name, value in task.figures(data, given).items()}


def answers(data: Data, model: Model, size: int) -> np.ndarray:
    """Classes, or values, for the test part: (N,), (N, T) or, decoded greedily, (N, U)."""
    rows = []
    with torch.no_grad():
        for batch in batches(data.test, size, model.device, shape=data.shape):
            if data.shape == TO_SEQUENCE:
                answer = model.decode(batch, data.test.y.shape[1]).T
            else:
                answer = model.answer(batch)
                answer = answer if data.classes is None else answer.argmax(-1)
                answer = answer if data.shape == MANY_TO_ONE else answer.transpose(0, 1)
            rows.append(padded(answer[: batch.count].cpu().numpy(), data.test.y.shape))
    return np.concatenate(rows)


def padded(answer: np.ndarray, like: tuple[int, ...]) -> np.ndarray:
    """Adds zeros up to the targets' steps, for batches are cut to their longest sequence."""
    if answer.ndim < 2 or answer.shape[1] >= like[1] or len(like) == 1:
        return answer
    widths = [(0, 0), (0, like[1] - answer.shape[1]), *[(0, 0)] * (answer.ndim - 2)]
    return np.pad(answer, widths)
