"""Outputs, targets and the loss between them: axes, residuals, curvature, the loss of a constant answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .recoverable import fisher_directions


@dataclass(frozen=True)
class Axes:
    """Where a tensor has its samples, and where its positions in time if it has one for every step."""

    samples: int
    position: int | None

    def rows(self, tensor: Tensor) -> Tensor:
        """(B, P, K): P is 1 where there are no positions."""
        first = tensor.movedim(self.samples, 0)
        if self.position is None:
            return first.reshape(len(first), 1, -1)
        first = first.movedim(self.position, 1)
        return first.reshape(*first.shape[:2], -1)

    def like(self, rows: Tensor, tensor: Tensor) -> Tensor:
        """The reverse: rows (B, P, K) with the tensor's own axes."""
        first = tensor.movedim(self.samples, 0)
        if self.position is None:
            return rows.reshape(first.shape).movedim(0, self.samples)
        return (
            rows.reshape(first.movedim(self.position, 1).shape)
            .movedim(1, self.position)
            .movedim(0, self.samples)
        )


@dataclass(frozen=True)
class BatchLoss:
    """The loss as the caller wrote it, and how its arguments lie.

    output   the axes of the model's output; target: the target's axis of samples
    mean     whether it is a mean over samples, else a sum
    """

    loss: Callable[[Tensor, Tensor], Tensor]
    output: Axes
    target: int
    mean: bool

    def total(self, output: Tensor, target: Tensor) -> Tensor:
        """Sum over samples of each one's loss."""
        return self.loss(output, target) * (output.shape[self.output.samples] if self.mean else 1)

    def average(self, output: Tensor, target: Tensor) -> float:
        """Mean over samples."""
        with torch.no_grad():
            return float(self.total(output, target)) / output.shape[self.output.samples]

    def chosen(self, output: Tensor, target: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
        """Both, of some samples alone."""
        return output.index_select(self.output.samples, which), target.index_select(self.target, which)

    def residuals(self, output: Tensor, target: Tensor) -> Tensor:
        """-dl_i/d output_i, (B, P, K)."""
        leaf = output.detach().requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(self.total(leaf, target), leaf)
        return -self.output.rows(gradient)

    def curvature(
        self, output: Tensor, target: Tensor, positions: list[int], rows: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Directions (K, q) of the output with the largest residuals (R, K), and the mean Hessian in them.

        Negative curvature counts as none; where a loss has no curvature at all (an absolute error), the
        residuals' own second moment takes its place.
        """
        basis = fisher_directions(rows)
        leaf = output.detach().requires_grad_()
        with torch.enable_grad():
            (slope,) = torch.autograd.grad(self.total(leaf, target), leaf, create_graph=True)
            slopes = self.output.rows(slope)[:, positions] if slope.requires_grad else None
        hessian = np.zeros((basis.shape[1],) * 2)
        for k, direction in enumerate(torch.as_tensor(basis.T, dtype=leaf.dtype, device=leaf.device)):
            if slopes is None:  # an absolute error's slope does not depend on the output
                break
            (row,) = torch.autograd.grad((slopes @ direction).sum(), leaf, retain_graph=True)
            hessian[k] = self.output.rows(row)[:, positions].mean((0, 1)).double().cpu().numpy() @ basis
        values, vectors = np.linalg.eigh((hessian + hessian.T) / 2)
        fisher = (vectors * np.maximum(values, 0)) @ vectors.T
        moments = basis.T @ (rows.T @ rows / len(rows)) @ basis
        return basis, fisher if fisher.any() else moments


def batch_loss(
    loss: Callable, output: Tensor, target: Tensor, batch: int, steps: int, axis: int | None
) -> BatchLoss:
    """The loss with the axes of a batch's output and target, and whether it is a mean.

    Raises ValueError, naming batch_axis, where the samples' axis is not to be found.
    """
    at = _samples("target", target, batch, axis if target.ndim > 1 else 0)
    samples = _samples("output", output, batch, axis if output.ndim > 1 else 0)
    axes = Axes(samples, _position(output.movedim(samples, 0), target.movedim(at, 0), steps))
    return BatchLoss(loss, axes, at, _is_mean(loss, output, target, samples, at))


def _samples(what: str, tensor: Tensor, batch: int, wanted: int | None) -> int:
    axes = [k for k, n in enumerate(tensor.shape) if n == batch]
    if wanted in axes:
        return int(wanted)
    if not axes:
        raise ValueError(
            f"the {what} is of shape {tuple(tensor.shape)}, which has no axis of the batch's {batch}"
            " sequences; say which axis of x holds the batch with batch_axis="
        )
    if len(axes) > 1 and 0 not in axes:
        raise ValueError(
            f"the {what} is of shape {tuple(tensor.shape)} and the batch has {batch}: say which axis with"
            " batch_axis="
        )
    return axes[0]


def _position(output: Tensor, target: Tensor, steps: int) -> int | None:
    if output.ndim == 2 and steps > 1 and output.shape == target.shape and output.shape[1] == steps:
        return 1
    axes = [k for k in (1, 2) if output.ndim == 3 and output.shape[k] == steps]
    return axes[0] if axes and steps > 1 else None


def _is_mean(loss: Callable, output: Tensor, target: Tensor, samples: int, at: int) -> bool:
    with torch.no_grad():
        once = loss(output, target)
        if not isinstance(once, Tensor) or once.numel() != 1:
            what = f"of shape {tuple(once.shape)}" if isinstance(once, Tensor) else type(once).__name__
            raise ValueError(
                f"loss(output, target) is {what}; it must be one number, the mean over the batch"
            )
        if not torch.isfinite(once):  # there is nothing to compare; the diagnosis ends at the loss itself
            return True
        twice = loss(torch.cat([output, output], samples), torch.cat([target, target], at))
    ratio = float(twice) / float(once) if float(once) else 1.0
    for value, mean in ((1.0, True), (2.0, False)):
        if abs(ratio - value) < 1e-3:
            return mean
    raise ValueError(
        f"the loss of a batch given twice is {ratio:.3g} times its loss; it must be a mean or a sum over the"
        " samples"
    )


def trivial_loss(loss: BatchLoss, output: Tensor, target: Tensor) -> tuple[float, Tensor]:
    """The least mean loss of an answer that is the same for all samples, and that answer.

    Each position has an answer of its own. Tried are the targets' mean, median and log-odds, and for classes
    the logarithm of their shares: the best for the squared, the absolute and the logistic error,
    cross-entropy and its forms. Raises ValueError where none has the output's shape.
    """
    like = loss.output.rows(output)
    best = None
    for constant in _constants(target.movedim(loss.target, 0), like):
        answer = loss.output.like(constant.expand_as(like).contiguous(), output)
        try:
            value = loss.average(answer, target)
        except (RuntimeError, ValueError):  # a loss that takes probabilities alone refuses the others
            continue
        if np.isfinite(value) and (best is None or value < best[0]):
            best = value, answer
    if best is None:
        raise ValueError(
            f"no constant answer is known for targets of shape {tuple(target.shape)} and outputs of shape"
            f" {tuple(output.shape)}; give its loss with trivial="
        )
    return best


def _constants(target: Tensor, like: Tensor) -> list[Tensor]:
    """Candidates (1, P, K) from targets with samples first."""
    _, positions, width = like.shape
    if not target.is_floating_point() and width > 1 and target.numel() == len(target) * positions:
        classes = target.reshape(-1, positions)
        counts = torch.stack([(classes == k).sum(0) for k in range(width)], -1).to(like.dtype)
        shares = (counts / counts.sum(-1, keepdim=True).clamp_min(1))[None]
        return [*_of_shares(shares), (shares > 0.5).to(like.dtype)]
    if target.numel() != like.numel():
        return []
    values = target.reshape(like.shape).to(like.dtype)
    mean = values.mean(0, keepdim=True)
    of_shares = _of_shares(mean) if float(values.min()) >= 0 and float(values.max()) <= 1 else [mean]
    return [*of_shares, values.median(0, keepdim=True).values]


def _of_shares(shares: Tensor) -> list[Tensor]:
    """As they are, as log-probabilities and as log-odds."""
    inside = shares.clamp(1e-12, 1 - 1e-12)
    return [shares, torch.log(inside), torch.log(inside) - torch.log1p(-inside)]
