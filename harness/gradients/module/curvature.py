"""The mean Hessian of a loss in given directions of the output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .loss import BatchLoss

AGREE = 0.05  # share by which differences of two sizes may differ


@dataclass(frozen=True)
class Hessian:
    """matrix (q, q). differences: whether it comes from differences of the gradient, not from autograd."""

    matrix: np.ndarray
    differences: bool


def hessian(loss: BatchLoss, output: Tensor, target: Any, positions: list[int], basis: np.ndarray) -> Hessian:
    """In the directions of basis (K, q), mean over samples and positions.

    Where torch cannot differentiate twice (CTC, a function with a backward of its own), the second derivative
    is a central difference of the first.
    """
    directions = torch.as_tensor(basis.T.copy(), dtype=output.dtype, device=output.device)
    try:
        rows, refused = _by_autograd(loss, output, target, positions, directions), False
    except RuntimeError:  # torch's word for a function without a second derivative
        rows, refused = None, True
    if rows is not None:
        return Hessian(_matrix(rows, positions, basis), False)
    sizes = (1.0, 0.5)
    wide, near = (
        _matrix(_by_differences(loss, output, target, positions, directions, s), positions, basis)
        for s in sizes
    )
    # an absolute error jumps where its slope turns: that is no curvature, and changes with the step
    smooth = float(np.abs(wide - near).max(initial=0)) <= AGREE * float(np.abs(near).max(initial=0))
    return Hessian(near if smooth else 0 * near, refused or (smooth and bool(near.any())))


def _matrix(rows: list[Tensor], positions: list[int], basis: np.ndarray) -> np.ndarray:
    means = [r[:, positions].mean((0, 1)).double().cpu().numpy() for r in rows]
    return np.array([mean @ basis for mean in means]).reshape(len(means), len(means))


def _by_autograd(
    loss: BatchLoss, output: Tensor, target: Any, positions: list[int], directions: Tensor
) -> list[Tensor] | None:
    """The Hessian's product with each direction, (B, P, K); None where the gradient has no graph."""
    leaf = output.detach().requires_grad_()
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(loss.total(leaf, target), leaf, create_graph=True)
        if not slope.requires_grad:  # an absolute error's slope, or a backward that torch did not see
            return None
        slopes = loss.output.rows(slope)[:, positions]
    rows = []
    for direction in directions:
        (row,) = torch.autograd.grad((slopes @ direction).sum(), leaf, retain_graph=True)
        rows.append(loss.output.rows(row))
    return rows


def _by_differences(
    loss: BatchLoss, output: Tensor, target: Any, positions: list[int], directions: Tensor, factor: float
) -> list[Tensor]:
    """The same from the gradient at outputs moved to either side."""
    like = loss.output.rows(output.detach())
    size = factor * torch.finfo(output.dtype).eps ** (1 / 3) * max(float(like.abs().mean()), 1e-3)
    rows = []
    for direction in directions:
        step = torch.zeros_like(like)
        step[:, positions] = size * direction
        above, below = (
            loss.residuals(loss.output.like(like + sign * step, output), target) for sign in (1, -1)
        )
        rows.append((below - above) / (2 * size))
    return rows
