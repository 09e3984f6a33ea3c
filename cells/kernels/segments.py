"""Segments of the steps: of a long sequence, gate values are computed for as many steps as a cache holds."""

from __future__ import annotations

SEGMENT_BYTES = 4 << 20  # of one buffer of gate values: what a core's cache holds a good part of


def steps_of(row: int, steps: int, buffers: int = 1) -> int:
    """Steps of a segment, given the bytes of one step's gate values and the number of buffers for them."""
    return max(1, min(steps, buffers * SEGMENT_BYTES // row))


def segments(steps: int, length: int) -> list[slice]:
    """Slices of the steps, each of this length but for the last."""
    return [slice(t, min(t + length, steps)) for t in range(0, steps, length)]
