"""Whether a gradient from certain lags is more than its noise, from sums over chunks of samples.

No sample's own gradient is kept.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .pullback import Pullback, parameter_gradient
from .recording import Recording

FEWEST = 4  # chunks, in fewer of which no variance is told


class Noise:
    """Sums over chunks of samples of the gradient of the recurrence's parameters, by band of lags."""

    def __init__(self, bands: int) -> None:
        self.sums: list[Tensor] = [torch.zeros(())] * bands
        self.squares = [0.0] * bands
        self.total: Tensor = torch.zeros(())
        self.total_squares: Tensor = torch.zeros(())
        self.weighted: Tensor = torch.zeros(())
        self.chunks, self.samples = 0, 0

    def add(self, by_band: list[Tensor], count: int) -> None:
        """The gradient of one chunk of samples by band, each summed over its `count` samples."""
        means = [gradient.double() / count for gradient in by_band]
        for k, mean in enumerate(means):
            self.sums[k] = self.sums[k] + mean
            self.squares[k] += float(mean @ mean)
        total = torch.stack(means).sum(0)
        self.total, self.total_squares = self.total + total, self.total_squares + total**2
        self.weighted = self.weighted + total * count
        self.chunks, self.samples = self.chunks + 1, self.samples + count

    def variance(self) -> Tensor:
        """The variance of one sample's gradient, by parameter."""
        mean = self.total / self.chunks
        spread = (self.total_squares / self.chunks - mean**2).clamp_min(0) * self.chunks / (self.chunks - 1)
        return spread * self.samples / self.chunks

    def needed(self) -> list[float]:
        """Samples that a gradient from each band needs at least: tr Cov(g) / |E g of the band|^2.

        The squared mean is taken at its upper two-sigma end, so that noise alone cannot make it small.
        """
        if self.chunks < FEWEST:
            return [float("nan")] * len(self.sums)
        trace = float(self.variance().sum())
        needed = []
        for total, squares in zip(self.sums, self.squares, strict=True):
            mean = float((total / self.chunks) @ (total / self.chunks))
            error = max(squares / self.chunks - mean, 0.0) / (self.chunks - 1)
            needed.append(trace / (mean + 2 * error) if mean + error > 0 else float("inf"))
        return needed

    def stationary(self) -> float:
        """1 - mean of B gbar^2 / s^2 over the parameters whose gradient varies (Mahsereci et al. 2017)."""
        if self.chunks < FEWEST:
            return float("nan")
        variance = self.variance()
        varies = variance > 0
        if not bool(varies.any()):
            return float("nan")
        mean = self.total / self.chunks
        return 1 - self.samples * float((mean[varies] ** 2 / variance[varies]).mean())

    def norm(self) -> float:
        """The norm of the mean gradient, scaled by its largest entry so that no square overflows."""
        if not self.chunks:
            return float("nan")
        mean = self.weighted / self.samples
        largest = float(mean.abs().max()) if mean.numel() else 0.0
        if not 0 < largest < float("inf"):
            return largest
        return largest * float(torch.linalg.vector_norm(mean / largest))

    def add_batch(
        self,
        recording: Recording,
        params: list[Tensor],
        pullbacks: list[Pullback],
        ends: list[np.ndarray],
        bands: list[tuple[int, int]],
        chunks: int,
    ) -> None:
        """One batch in `chunks` parts. pullbacks and the steps `ends` (B,) of the loss are by position."""
        if not params:
            return
        like = recording.output
        for rows in torch.arange(recording.batch).tensor_split(min(chunks, recording.batch)):
            chosen = torch.zeros(recording.batch, dtype=like.dtype, device=like.device)
            chosen[rows] = 1
            by_band = []
            for low, high in bands:
                gradients = [
                    parameter_gradient(recording, pullback, end, (low, high), chosen, params)
                    for pullback, end in zip(pullbacks, ends, strict=True)
                ]
                by_band.append(torch.stack(gradients).sum(0))
            self.add(by_band, len(rows))
