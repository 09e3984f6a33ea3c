"""Segments of the steps: of a long sequence, gate values are computed for as many steps as a cache holds."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ..programs.program import Program

SEGMENT_BYTES = 4 << 20  # of one buffer of gate values, which the gradients of the weights read at the end
SEGMENT_WEIGHTS = 4  # or so many times the weights, since each segment adds all their gradients to a sum,
SEGMENT_ROWS = 2048  # but no more rows for their sake
ROWS_AHEAD = 256  # of inputs that are multiplied with weights from a cache that cores share
CACHE = Path("/sys/devices/system/cpu/cpu0/cache/index2/size")  # of a core's own, where Linux runs


def steps_of(program: Program, buffers: int = 1) -> int:
    """Steps of a program's segment, which has so many buffers for gate values."""
    cell, size = program.cell, np.dtype(program.dtype).itemsize
    row = program.batch * len(cell.gates) * program.units * size
    weights = cell.parameter_count(program.input_size, program.hidden_size) * size
    for_weights = min(SEGMENT_WEIGHTS * weights // row, SEGMENT_ROWS // program.batch)
    return max(1, min(program.steps, max(buffers * SEGMENT_BYTES // row, for_weights)))


def steps_ahead(row: int, steps: int, batch: int) -> int:
    """Steps whose inputs' products are made at a time; `row` are the bytes of one step's, and of its inputs.

    They fill half of a core's second cache; or more, where so few rows would not pay for reading the weights.
    """
    return max(1, min(steps, max(second_cache() // 2 // row, ROWS_AHEAD // batch)))


@lru_cache
def second_cache() -> int:
    """The bytes of a core's second cache, as the machine reports it; half a MiB where it does not."""
    try:
        size = CACHE.read_text(encoding="ascii").strip()
        return int(size.rstrip("KMG")) << {"K": 10, "M": 20, "G": 30}.get(size[-1:], 0)
    except (OSError, ValueError):
        return 1 << 19


@lru_cache
def segments(steps: int, length: int) -> tuple[slice, ...]:
    """Slices of the steps, each of this length but for the last."""
    return tuple(slice(t, min(t + length, steps)) for t in range(0, steps, length))
