"""A cell with a linear head, trained by torch's autograd through any backend's programs. Many to one, any lengths."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch

import cells
from cells import autograd
from cells.program import Program

from .case import Case
from .gradients import total_norm
from .programs import check, inputs, prepare
from .task import Data, Sequences

ROUND = 8  # lengths are rounded up to a multiple, so that few programs serve all batches


@dataclass(frozen=True)
class Batch:
    """x (T, B, I), last (B,) the index of each sequence's last step, y (B, ...), and how many of the B count."""

    x: torch.Tensor
    last: torch.Tensor
    y: torch.Tensor
    count: int


class Model(torch.nn.Module):
    """The cell's parameters and a head on the output at each sequence's last step; computed by the case's backend."""

    def __init__(self, case: Case, params: dict[str, np.ndarray], output_size: int, seed: int) -> None:
        super().__init__()
        self.case = case
        dtype = getattr(torch, str(case.dtype))
        self.cell = torch.nn.ParameterDict({k: torch.nn.Parameter(torch.tensor(v, dtype=dtype)) for k, v in params.items()})
        width = cells.get(case.spec).output_size(case.input_size, case.hidden_size)
        generator = torch.Generator().manual_seed(seed)
        bound = 1 / math.sqrt(width)
        draw = [
            torch.rand(s, generator=generator, dtype=dtype) * 2 * bound - bound for s in ((output_size, width), (output_size,))
        ]
        self.head_weight, self.head_bias = torch.nn.Parameter(draw[0]), torch.nn.Parameter(draw[1])
        self.to(case.device)
        self.programs: dict[tuple[int, int], Program] = {}

    def forward(self, x: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
        """(B, K) from x (T, B, I)."""
        output = autograd.apply(self.program(x.shape[0], x.shape[1]), dict(self.cell.items()), x)
        return torch.nn.functional.linear(output[last, torch.arange(len(last))], self.head_weight, self.head_bias)

    def program(self, steps: int, batch: int) -> Program:
        if (steps, batch) not in self.programs:
            case = replace(self.case, steps=steps, batch=batch, direction="backward")
            self.programs[steps, batch] = prepare(case, {k: v.detach() for k, v in self.cell.items()})
        return self.programs[steps, batch]


def check_backend(case: Case) -> str:
    """Holds the backend against the reference at the case's size; returns what really runs. Raises NotOk."""
    return _checked(replace(case, direction="backward", seed=None, variant=None))


@lru_cache  # once a process: seeds and variants of a case are computed by the same program
def _checked(case: Case) -> str:
    given = inputs(case)
    program = prepare(case, given.params)
    program.load(given.x, None, given.d_output)
    program.run()
    check(program.read(), given, case)
    return program.implementation


def batches(part: Sequences, size: int, device: str, rng: np.random.Generator | None = None) -> Iterator[Batch]:
    """All sequences once, in random order if rng is given; the last batch is filled up."""
    order = np.arange(len(part)) if rng is None else rng.permutation(len(part))
    for start in range(0, len(part), size):
        chosen = order[start : start + size]
        filled = np.resize(chosen, size)
        steps = min(part.x.shape[1], ROUND * -(-int(part.lengths[filled].max()) // ROUND))
        x = torch.from_numpy(np.ascontiguousarray(part.x[filled, :steps].swapaxes(0, 1)))
        last, y = torch.from_numpy(part.lengths[filled] - 1), torch.from_numpy(part.y[filled])
        yield Batch(x.to(device), last.to(device), y.to(device), count=len(chosen))


def loss_of(data: Data, answer: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Mean loss over the sequences of the batch that count."""
    answer, y = answer[: batch.count], batch.y[: batch.count]
    if data.classes is None:
        return torch.nn.functional.mse_loss(answer, y)
    return torch.nn.functional.cross_entropy(answer, y)


def evaluate(model: Model, data: Data, size: int) -> tuple[float, float]:
    """Test loss, and accuracy (NaN for a regression)."""
    total, right = 0.0, 0
    with torch.no_grad():
        for batch in batches(data.test, size, str(model.case.device)):
            answer = model(batch.x, batch.last)
            total += float(loss_of(data, answer, batch)) * batch.count
            if data.classes is not None:
                right += int((answer.argmax(1) == batch.y)[: batch.count].sum())
    accuracy = right / len(data.test) if data.classes is not None else math.nan
    return total / len(data.test), accuracy


def gradient_norm(model: Model) -> float:
    """Norm over all gradients; it neither overflows nor underflows."""
    return total_norm(p.grad for p in model.parameters() if p.grad is not None)


def scale_gradients(model: Model, norm: float, max_norm: float) -> None:
    """Clips by norm: scales all gradients to max_norm where the norm is above it."""
    if norm > max_norm:
        for p in model.parameters():
            if p.grad is not None:
                p.grad.mul_(max_norm / norm)
