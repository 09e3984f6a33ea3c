"""Trains a cell with a linear head on sequences drawn afresh for every update, until it has learned them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cellbench import cells
from cellbench.cells import GatedCell

from ...gradients import total_norm
from .anchor import Arrays

Draw = Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]]
AVERAGED = 10  # updates whose loss must lie below the target together


@dataclass(frozen=True)
class Recipe:
    """x (T, B, I) and y (B,) classes, or (B, 1) values, come from draw(rng, batch).

    target   training loss at which it counts as learned, as the mean of 10 updates in a row
    clip     norm of all gradients together above which they are scaled down to it; inf for none
    stop     whether training ends there
    """

    draw: Draw
    outputs: int
    target: float
    optimiser: str = "Adam"
    learning_rate: float = 3e-3
    batch: int = 64
    clip: float = 1.0
    updates: int = 600
    stop: bool = True


@dataclass(frozen=True)
class TrainingRun:
    """One training.

    losses       of every update
    learned_at   the update after which it was learned, None where it was not
    clipped      share of the updates that were clipped
    """

    losses: np.ndarray
    learned_at: int | None
    clipped: float

    @property
    def last_loss(self) -> float:
        """Mean of the last 50 updates."""
        return float(self.losses[-50:].mean())


def train(recipe: Recipe, cell: GatedCell, params: Arrays, seed: int) -> TrainingRun:
    """Trains by the numba backend in float32. The head is drawn as torch.nn.Linear's."""
    import torch

    from cellbench.cells.programs import autograd

    rng = np.random.default_rng([seed, 2])
    x, _ = recipe.draw(rng, recipe.batch)
    program = cells.backend("numba").prepare(
        cell, params, steps=len(x), batch=recipe.batch, dtype="float32", direction="backward"
    )
    weights: dict[str, torch.Tensor] = {
        k: torch.nn.Parameter(torch.tensor(v, dtype=torch.float32)) for k, v in params.items()
    }
    torch.manual_seed(seed)
    head = torch.nn.Linear(program.output_size, recipe.outputs)
    every = [*weights.values(), *head.parameters()]
    optimiser = getattr(torch.optim, recipe.optimiser)(every, lr=recipe.learning_rate)
    loss_of = torch.nn.functional.cross_entropy if recipe.outputs > 1 else torch.nn.functional.mse_loss
    losses: list[float] = []
    learned_at, clipped = None, 0
    while len(losses) < recipe.updates:
        x, y = recipe.draw(rng, recipe.batch)
        loss = loss_of(head(autograd.apply(program, weights, torch.from_numpy(x))[-1]), torch.from_numpy(y))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = total_norm(p.grad for p in every)
        losses.append(float(loss.detach()))
        if not math.isfinite(norm):
            break  # a gradient that is not finite ends the run: no update brings it back
        if norm > recipe.clip:
            clipped += 1
            for p in every:
                if p.grad is not None:
                    p.grad.mul_(recipe.clip / norm)
        optimiser.step()
        if learned_at is None and len(losses) >= AVERAGED and np.mean(losses[-AVERAGED:]) <= recipe.target:
            learned_at = len(losses)
            if recipe.stop:
                break
    return TrainingRun(np.array(losses), learned_at, clipped / len(losses))
