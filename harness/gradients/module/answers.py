"""The answers of a model to all batches, with what they should have been."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .curvature import Hessian, hessian
from .loss import BatchLoss
from .recoverable import fisher_directions
from .states import leaves


@dataclass(frozen=True)
class Piece:
    """Batches with outputs of one shape. positions: of the output, whose residuals are looked at."""

    loss: BatchLoss
    output: Tensor
    target: Any
    positions: list[int]

    @property
    def count(self) -> int:
        return self.loss.output.count(self.output)

    def within(self, positions: int) -> Tensor:
        """(B, P): the positions that are no padding."""
        starts = torch.tensor(self.loss.starts or (0,) * self.count)
        return torch.arange(positions) >= starts[:, None]

    def rows(self) -> np.ndarray:
        """Residuals (R, K): a sample's positions one after the other."""
        residuals = self.loss.residuals(self.output, self.target)[:, self.positions]
        return residuals.reshape(-1, residuals.shape[-1]).double().cpu().numpy()


@dataclass(frozen=True)
class Answers:
    """Pieces one after the other; a row is a sample and one of its positions."""

    pieces: list[Piece]

    @property
    def count(self) -> int:
        """Samples."""
        return sum(p.count for p in self.pieces)

    @property
    def divisible(self) -> bool:
        """Whether some of the samples have a loss alone."""
        return all(p.loss.divisible for p in self.pieces)

    def total(self) -> Tensor:
        """Sum over samples of each one's loss."""
        return torch.stack([p.loss.total(p.output, p.target) for p in self.pieces]).sum()

    def average(self) -> float:
        """Mean over samples."""
        with torch.no_grad():
            return float(self.total()) / self.count

    def outputs(self) -> list[Tensor]:
        """(B, P, K) of each piece."""
        return [p.loss.output.rows(p.output.detach()) for p in self.pieces]

    def constant(self, rows: Tensor) -> Answers:
        """All samples with the same answer, (1, P, K) or (1, 1, K)."""
        return Answers(
            [
                replace(p, output=p.loss.output.like(rows.expand_as(like).contiguous(), p.output))
                for p, like in zip(self.pieces, self.outputs(), strict=True)
            ]
        )

    def first_target(self, piece: Piece, like: Tensor) -> Tensor | None:
        """Its first tensor as (B, P) classes or (B, P, K) numbers; None where it has no such shape."""
        axes, target = piece.loss.targets[0], leaves(piece.target)[0]
        if axes is None:
            return None
        first = axes.unfolded(target).movedim(axes.samples, 0)
        count, positions, width = like.shape
        if not target.is_floating_point() and width > 1 and first.numel() == count * positions:
            return first.reshape(count, positions)
        return first.reshape(like.shape) if first.numel() == like.numel() else None

    def grouped(self, which: np.ndarray) -> np.ndarray:
        """The samples, counted over all pieces, in the order in which `chosen` has them."""
        return np.concatenate([which[here] for here, _ in self._spans(which)])

    def chosen(self, which: np.ndarray) -> Answers:
        """Some samples alone."""
        pieces = []
        for (here, start), p in zip(self._spans(which), self.pieces, strict=True):
            if here.any():
                own = torch.as_tensor(which[here] - start)
                output, target = p.loss.chosen(p.output, p.target, own)
                pieces.append(Piece(p.loss.part(own), output, target, p.positions))
        return Answers(pieces)

    def row_numbers(self, which: np.ndarray) -> np.ndarray:
        """The rows of these samples, in the order in which `chosen` has them."""
        numbers, before = [], 0
        for (here, start), p in zip(self._spans(which), self.pieces, strict=True):
            width = len(p.positions)
            own = which[here] - start
            numbers.append((before + own[:, None] * width + np.arange(width)).ravel())
            before += p.count * width
        return np.concatenate(numbers)

    def _spans(self, which: np.ndarray) -> Iterator[tuple[np.ndarray, int]]:
        """For each piece, which of the samples are its own, and the number of its first."""
        start = 0
        for p in self.pieces:
            yield (which >= start) & (which < start + p.count), start
            start += p.count

    def rows(self) -> np.ndarray:
        """Residuals (R, K)."""
        return np.concatenate([p.rows() for p in self.pieces])

    def moved(self, change: np.ndarray) -> Answers:
        """With rows (R, K) added to the outputs."""
        pieces, start = [], 0
        for p in self.pieces:
            rows = p.loss.output.rows(p.output).clone()
            size = len(rows) * len(p.positions)
            delta = torch.as_tensor(change[start : start + size], dtype=rows.dtype, device=rows.device)
            rows[:, p.positions] += delta.reshape(len(rows), len(p.positions), -1)
            pieces.append(replace(p, output=p.loss.output.like(rows, p.output)))
            start += size
        return Answers(pieces)

    def curvature(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, str]:
        """Directions (K, q) of the output with the largest residuals (R, K), the mean Hessian in them, and a
        word on how it was had.

        Negative curvature counts as none; where a loss has no curvature at all (an absolute error), the
        residuals' own second moment takes its place.
        """
        basis = fisher_directions(rows)
        found: list[Hessian] = [hessian(p.loss, p.output, p.target, p.positions, basis) for p in self.pieces]
        weights = np.array([p.count * len(p.positions) for p in self.pieces], float)
        mean = sum(w * h.matrix for w, h in zip(weights / weights.sum(), found, strict=True))
        values, vectors = np.linalg.eigh((mean + mean.T) / 2)
        fisher = (vectors * np.maximum(values, 0)) @ vectors.T
        how = "differences" if any(h.differences for h in found) else ""
        if fisher.any():
            return basis, fisher, how
        return basis, basis.T @ (rows.T @ rows / len(rows)) @ basis, how
