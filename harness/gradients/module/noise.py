"""Is a gradient from certain lags more than its noise? Sums over chunks of samples, without any sample's
gradient kept.
"""

from __future__ import annotations

import torch
from torch import Tensor


class Noise:
    """Sums over chunks of samples of the gradient of the recurrence's parameters, by band of lags."""

    def __init__(self, bands: int) -> None:
        self.sums: list[Tensor] = [torch.zeros(())] * bands
        self.squares = [0.0] * bands
        self.total: Tensor = torch.zeros(())
        self.total_squares: Tensor = torch.zeros(())
        self.chunks, self.samples = 0, 0

    def add(self, parts: list[Tensor], count: int) -> None:
        """The gradient of one chunk of samples by band, each summed over its samples."""
        means = [p.double() / count for p in parts]
        for k, mean in enumerate(means):
            self.sums[k] = self.sums[k] + mean
            self.squares[k] += float(mean @ mean)
        whole = torch.stack(means).sum(0)
        self.total, self.total_squares = self.total + whole, self.total_squares + whole**2
        self.chunks, self.samples = self.chunks + 1, self.samples + count

    def variance(self) -> Tensor:
        """Of one sample's gradient, by parameter."""
        mean = self.total / self.chunks
        spread = (self.total_squares / self.chunks - mean**2).clamp_min(0) * self.chunks / (self.chunks - 1)
        return spread * self.samples / self.chunks

    def needed(self) -> list[float]:
        """By band, tr Cov(g) / |E g of the band|^2 with the mean at its upper two-sigma end: at least so many
        samples.
        """
        if self.chunks < 4:
            return [float("nan")] * len(self.sums)
        trace = float(self.variance().sum())
        found = []
        for total, squares in zip(self.sums, self.squares, strict=True):
            mean = float((total / self.chunks) @ (total / self.chunks))
            error = max(squares / self.chunks - mean, 0.0) / (self.chunks - 1)
            found.append(trace / (mean + 2 * error) if mean + error > 0 else float("inf"))
        return found

    def stationary(self) -> float:
        """1 - mean of B gbar^2 / s^2 over the parameters (Mahsereci et al. 2017), where the gradient varies
        at all.
        """
        if self.chunks < 4:
            return float("nan")
        variance = self.variance()
        varies = variance > 0
        if not bool(varies.any()):
            return float("nan")
        mean = self.total / self.chunks
        return 1 - self.samples * float((mean[varies] ** 2 / variance[varies]).mean())

    def norm(self) -> float:
        """Of the mean gradient, by a form that does not overflow."""
        mean = self.total / max(self.chunks, 1)
        largest = float(mean.abs().max()) if mean.numel() else 0.0
        return (
            largest * float(torch.linalg.vector_norm(mean / largest))
            if 0 < largest < float("inf")
            else largest
        )
