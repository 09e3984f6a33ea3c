"""What a CUDA device can do at most: FLOP/s of a product of two large matrices, bytes/s of a large copy.

Both are PyTorch's own, and the fastest of some runs counts.
"""

from __future__ import annotations

from .ceilings import FLOP, fastest
from .clocks import Clock, clock_of

WIDE = 4096  # rows and columns of the matrices
COPIED = 1 << 28  # bytes, more than any L2 holds
MOVED = 2  # bytes for each that is copied: it is read, and written


def flop_per_s(dtype: str, clock: Clock | None = None) -> float:
    """FLOP/s of a product of matrices of torch's dtype of this name."""
    import torch

    sizes, kind = (WIDE, WIDE), getattr(torch, dtype)
    a, b = (torch.ones(sizes, dtype=kind, device="cuda") for _ in range(2))
    result = torch.empty(sizes, dtype=kind, device="cuda")
    seconds = fastest(lambda: torch.matmul(a, b, out=result), clock or clock_of("cuda"))
    return FLOP * WIDE**3 / seconds


def bytes_per_s(clock: Clock | None = None) -> float:
    """Bytes a second that a copy reads and writes in the device's memory."""
    import torch

    a, b = (torch.zeros(COPIED, dtype=torch.int8, device="cuda") for _ in range(2))
    return MOVED * COPIED / fastest(lambda: b.copy_(a), clock or clock_of("cuda"))
