"""A causal dilated convolution for comparison: weights shared over time as in a cell, but no state.

The temporal convolutional network of Bai, Kolter and Koltun 2018 (arXiv 1803.01271): residual blocks of two
causal convolutions with ReLU, the dilation doubled from block to block; without their weight normalisation
and dropout.
"""

from __future__ import annotations

import torch
from torch import nn

from ..task import MANY_TO_ONE, Data
from .model import Batch

KERNEL = 3


def blocks_for(steps: int) -> int:
    """The fewest blocks whose receptive field covers so many steps."""
    blocks = 1
    while receptive_field(blocks) < steps:
        blocks += 1
    return blocks


def receptive_field(blocks: int) -> int:
    """Steps that an answer depends on: 1 + 2 (k - 1) (2^blocks - 1)."""
    return 1 + 2 * (KERNEL - 1) * (2**blocks - 1)


class Block(nn.Module):
    """(B, C, T) to (B, channels, T)."""

    def __init__(self, width: int, channels: int, dilation: int) -> None:
        super().__init__()
        self.reach = (KERNEL - 1) * dilation
        self.first = nn.Conv1d(width, channels, KERNEL, dilation=dilation)
        self.second = nn.Conv1d(channels, channels, KERNEL, dilation=dilation)
        self.beside = nn.Conv1d(width, channels, 1) if width != channels else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = torch.relu(self.first(nn.functional.pad(x, (self.reach, 0))))
        hidden = torch.relu(self.second(nn.functional.pad(hidden, (self.reach, 0))))
        return torch.relu(hidden + self.beside(x))


class Convolution(nn.Module):
    """Blocks that see the whole sequence, and a head at the last step or at every one."""

    def __init__(
        self, data: Data, input_size: int, channels: int, seed: int, device: str, dtype: str = "float32"
    ) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.embedding = (
                nn.Embedding(data.vocabulary, input_size) if data.vocabulary is not None else None
            )
            count = blocks_for(data.train.x.shape[1])
            widths = [input_size] + [channels] * count
            self.blocks = nn.Sequential(*(Block(widths[n], channels, 2**n) for n in range(count)))
            self.head = nn.Linear(channels, data.output_size)
        self.shape, self.device, self.receptive_field = data.shape, device, receptive_field(count)
        self.to(device, getattr(torch, dtype))
        # float32 is float32: cuDNN may round operands to tf32. A worker trains nothing else.
        torch.backends.cudnn.allow_tf32 = False

    def answer(self, batch: Batch) -> torch.Tensor:
        """(B, K), or (T, B, K) with one answer a step."""
        x = batch.x if self.embedding is None else self.embedding(batch.x)
        output = self.blocks(x.permute(1, 2, 0)).permute(2, 0, 1)
        return self.head(
            output[batch.last, torch.arange(len(batch.last))] if self.shape == MANY_TO_ONE else output
        )


def channels_for(parameters: int, data: Data, input_size: int) -> int:
    """The number of channels with which blocks and head come closest to so many parameters."""
    count = blocks_for(data.train.x.shape[1])

    def size(channels: int) -> int:
        blocks = (Block(input_size if n == 0 else channels, channels, 1) for n in range(count))
        return sum(p.numel() for block in blocks for p in block.parameters()) + data.output_size * (
            channels + 1
        )

    channels = 1
    while size(channels + 1) <= parameters:
        channels += 1
    return min((channels, channels + 1), key=lambda c: abs(size(c) - parameters))
