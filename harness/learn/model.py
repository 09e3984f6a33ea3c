"""A cell with a linear head, trained by torch's autograd through any backend, for every shape of task."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import torch

from cellbench import cells
from cellbench.cells.programs import autograd
from cellbench.cells.programs.formats import FORMATS
from cellbench.cells.programs.program import Program

from ..case import Case
from ..gradients import total_norm
from ..probe import NotOk
from ..programs import checked, inputs, prepare
from ..task import MANY_TO_ONE, TO_SEQUENCE, Data, Sequences
from .arrays import Arrays

ROUND = 8  # lengths are rounded up to a multiple, so that few programs serve all batches
DECODER = 10_000  # added to the seed, so that a decoder does not start from the encoder's parameters


@dataclass(frozen=True)
class Batch:
    """x (T, B, I), or (T, B) tokens; last (B,) each sequence's last step; y; and how many of the B count.

    y is (B, ...), or with a target a step (T, B, ...), of which `scored` (T, B) says what counts.
    """

    x: torch.Tensor
    last: torch.Tensor
    y: torch.Tensor
    count: int
    scored: torch.Tensor | None = None


class Trainable(Protocol):
    """What can be trained: a torch module that answers a batch."""

    device: str

    def answer(self, batch: Batch) -> torch.Tensor: ...
    def parameters(self) -> Iterator[torch.nn.Parameter]: ...
    def state_dict(self) -> dict[str, torch.Tensor]: ...
    def load_state_dict(self, state: dict[str, torch.Tensor]) -> Any: ...


class Model(torch.nn.Module):
    """A cell, computed by the case's backend, and a head on its output at the last step or at every step.

    Tokens have an embedding. For sequence to sequence a second set of the cell's parameters, the decoder,
    starts from the first one's last state and takes the embedding of the target before.
    """

    def __init__(
        self,
        case: Case,
        params: dict[str, np.ndarray],
        output_size: int,
        seed: int,
        shape: str = MANY_TO_ONE,
        vocabulary: int | None = None,
    ) -> None:
        super().__init__()
        self.case, self.shape, self.device = case, shape, str(case.device)
        self.cell_itself = cells.get(case.spec)
        self.dtype = getattr(torch, str(case.dtype))
        self.cell = self.parameters_of(params)
        width = self.cell_itself.output_size(case.input_size, case.hidden_size)
        generator = torch.Generator().manual_seed(seed)
        bound = 1 / math.sqrt(width)
        draw = [
            torch.rand(s, generator=generator, dtype=self.dtype) * 2 * bound - bound
            for s in ((output_size, width), (output_size,))
        ]
        self.head_weight, self.head_bias = torch.nn.Parameter(draw[0]), torch.nn.Parameter(draw[1])
        if vocabulary is not None:
            self.embedding = self.embedding_of(vocabulary, generator)
        if shape == TO_SEQUENCE:
            params = self.cell_itself.init(case.input_size, case.hidden_size, seed + DECODER)
            self.decoder = self.parameters_of(params)
            # the last one starts a sequence
            self.target_embedding = self.embedding_of(output_size + 1, generator)
        self.to(case.device)
        self.programs: dict[tuple[int, int], Program] = {}

    def parameters_of(self, params: dict[str, np.ndarray]) -> Arrays:
        return Arrays({k: torch.tensor(v, dtype=self.dtype) for k, v in params.items()})

    def embedding_of(self, count: int, generator: torch.Generator) -> torch.nn.Parameter:
        return torch.nn.Parameter(
            torch.randn((count, self.case.input_size), generator=generator, dtype=self.dtype)
        )

    def forward(self, x: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
        """(B, K) from x (T, B, I), or (T, B) tokens: the answer at each sequence's last step."""
        return self.head(self.run(self.cell, self.embedded(x))[0][last, torch.arange(len(last))])

    def answer(self, batch: Batch) -> torch.Tensor:
        """(B, K), or (T, B, K) with one answer for each target, given those before it (teacher forcing)."""
        if self.shape == MANY_TO_ONE:
            return self(batch.x, batch.last)
        if self.shape != TO_SEQUENCE:
            return self.head(self.run(self.cell, self.embedded(batch.x))[0])
        start = torch.full_like(batch.y[:1], len(self.head_bias))
        before = torch.cat([start, batch.y[:-1]])
        return self.head(self.run(self.decoder, self.target_embedding[before], self.encode(batch))[0])

    def encode(self, batch: Batch) -> dict[str, torch.Tensor]:
        """The encoder's last state; sequences end together at the last step of x."""
        return self.run(self.cell, self.embedded(batch.x))[1]

    def decode(self, batch: Batch, steps: int) -> torch.Tensor:
        """(steps, B) classes: at each step the most likely one, given those before it (greedy)."""
        state, token = self.encode(batch), torch.full_like(batch.last, len(self.head_bias))
        tokens = []
        for _ in range(steps):
            output, state = self.run(self.decoder, self.target_embedding[token][None], state)
            token = self.head(output[0]).argmax(-1)
            tokens.append(token)
        return torch.stack(tokens)

    def embedded(self, x: torch.Tensor) -> torch.Tensor:
        return self.embedding[x] if x.ndim == 2 else x

    def head(self, output: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(output, self.head_weight, self.head_bias)

    def run(
        self, params: Arrays, x: torch.Tensor, state: dict[str, torch.Tensor] | None = None
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        return autograd.apply_states(self.program(x.shape[0], x.shape[1]), dict(params.items()), x, state)

    def program(self, steps: int, batch: int) -> Program:
        if (steps, batch) not in self.programs:
            case = replace(self.case, steps=steps, batch=batch, direction="backward")
            self.programs[steps, batch] = prepare(
                case, {k: v.detach().cpu().numpy() for k, v in self.cell.items()}
            )
        return self.programs[steps, batch]


def check_backend(case: Case) -> str:
    """Holds the backend against the reference at the case's size; returns what really runs. Raises NotOk."""
    check_format(case)
    return _checked(replace(case, direction="backward", seed=None, variant=None))


def check_format(case: Case) -> None:
    """Raises NotOk for a format whose weights do not take in small updates."""
    form = FORMATS[case.dtype]
    if form.narrow:
        raise NotOk(
            "unsupported",
            f"training keeps its weights in float32 or float64: in {case.dtype} an update of less than"
            f" {form.eps / 4:.2g} of a weight leaves it as it was. Run it with dtype=float32; the probes"
            f" throughput and precision measure {case.dtype}",
        )


@lru_cache  # once a process: seeds and variants of a case are computed by the same program
def _checked(case: Case) -> str:
    return checked(case, inputs(case)).implementation


def batches(
    part: Sequences, size: int, device: str, rng: np.random.Generator | None = None, shape: str = MANY_TO_ONE
) -> Iterator[Batch]:
    """All sequences once, in random order if rng is given; the last batch is filled up with some again.

    All batches have one size, so that one program serves them. For sequence to sequence x is as wide as the
    part in every batch, so that the zeros before a sequence do not depend on the others in its batch.
    """
    order = np.arange(len(part)) if rng is None else rng.permutation(len(part))
    for start in range(0, len(part), size):
        chosen = order[start : start + size]
        filled = np.resize(chosen, size)
        lengths = part.lengths[filled]
        steps = part.x.shape[1] if shape == TO_SEQUENCE else rounded(lengths.max(), part.x.shape[1])
        x, y, scored = part.x[filled, :steps], part.y[filled], None
        if shape == TO_SEQUENCE:
            x = moved_to_the_end(x, lengths)
        if part.scored is not None:
            counted = part.scored[filled] & (np.arange(size) < len(chosen))[:, None]
            end = (
                rounded(1 + np.flatnonzero(counted.any(0))[-1], y.shape[1]) if shape == TO_SEQUENCE else steps
            )
            y, scored = y[:, :end].swapaxes(0, 1), tensor(counted[:, :end].swapaxes(0, 1), device)
        yield Batch(
            tensor(x.swapaxes(0, 1), device),
            tensor(lengths - 1, device),
            tensor(y, device),
            len(chosen),
            scored,
        )


def rounded(steps: int, most: int) -> int:
    return min(most, ROUND * -(-int(steps) // ROUND))


def moved_to_the_end(x: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Each sequence (B, T, ...) at the end of its row, zeros before it: all of them end at the last step."""
    moved = np.zeros_like(x)
    for row, length in enumerate(lengths):
        moved[row, x.shape[1] - length :] = x[row, :length]
    return moved


def tensor(array: np.ndarray, device: str) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).to(device)


def loss_of(data: Data, answer: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Mean loss over the targets of the batch that count."""
    if batch.scored is None:
        answer, y = answer[: batch.count], batch.y[: batch.count]
    else:
        answer, y = answer[batch.scored], batch.y[batch.scored]
    if data.classes is None:
        return torch.nn.functional.mse_loss(answer, y)
    return torch.nn.functional.cross_entropy(answer, y)


def evaluate(model: Trainable, data: Data, size: int) -> tuple[float, float]:
    """Test loss, and accuracy (NaN for a regression), over all targets that count."""
    total, right, count = 0.0, 0, 0
    with torch.no_grad():
        for batch in batches(data.test, size, model.device, shape=data.shape):
            answer = model.answer(batch)
            n = batch.count if batch.scored is None else int(batch.scored.sum())
            total, count = total + float(loss_of(data, answer, batch)) * n, count + n
            if data.classes is not None:
                same = answer.argmax(-1) == batch.y
                right += int((same[: batch.count] if batch.scored is None else same[batch.scored]).sum())
    return total / count, right / count if data.classes is not None else math.nan


def gradient_norm(model: Trainable) -> float:
    """Norm over all gradients; it neither overflows nor underflows."""
    return total_norm(p.grad for p in model.parameters() if p.grad is not None)


def scale_gradients(model: Trainable, norm: float, max_norm: float) -> None:
    """Clips by norm: scales all gradients to max_norm where the norm is above it."""
    if norm > max_norm:
        for p in model.parameters():
            if p.grad is not None:
                p.grad.mul_(max_norm / norm)
