"""The least time that a shape allows on a machine, and the fit t = a + b T.

A step multiplies a state with the recurrent weights, and no step can begin before the last one has ended. So
a run of T steps takes at least the larger of

    all its FLOP over the core's FLOP/s, and
    T times the seconds in which the recurrent weights are read: of each level as much as it holds, the
    smallest first.

The second bounds small batches: each step reads the weights anew. A backward reads them once more. Weights
that a level holds in part are read from it in part, where a step begins with what the last one ended with.
What else a run reads and writes is left out, and so is the time of exp and its relatives beyond one FLOP: the
bound is a lower one. Its rates are measured, each over the whole of its level: a share can lie above 1 by
their noise, or where a part of a level is faster than the whole. (Williams, Waterman and Patterson 2009.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .caches import MEMORY

FEWEST = 3  # lengths of a fit
ARITHMETIC = "arithmetic"  # what sets a bound, where no level does


@dataclass(frozen=True)
class Bound:
    """The least seconds, and what sets them: arithmetic, or the last level that the weights reach."""

    seconds: float
    by: str


def bound(
    flop: float,
    steps: int,
    weight_bytes: float,
    flop_per_s: float,
    bytes_per_s: Mapping[str, tuple[float, float]],
    reads: int = 1,
) -> Bound:
    """The bound of a run.

    weight_bytes   of the recurrent weights, which a step reads `reads` times
    bytes_per_s    by level: (bytes that fit, bytes a second), the smallest level first; may be empty
    """
    arithmetic = Bound(flop / flop_per_s, ARITHMETIC)
    held = once_s = 0.0
    for name, (fits, rate) in bytes_per_s.items():
        once_s += max(0.0, min(weight_bytes, fits) - held) / rate
        held = max(held, min(weight_bytes, fits))
        if weight_bytes <= fits:
            reading = Bound(steps * reads * once_s, name)
            return max(arithmetic, reading, key=lambda each: each.seconds)
    return arithmetic


def device_bound(flop: float, moved: float, flop_per_s: float, bytes_per_s: float) -> Bound:
    """The bound of a run on a device, whose multiprocessors may hold the weights: arithmetic, or memory.

    moved   bytes that it reads from the device's memory, and writes there
    """
    both = Bound(flop / flop_per_s, ARITHMETIC), Bound(moved / bytes_per_s, MEMORY)
    return max(both, key=lambda each: each.seconds)


def fit(steps: Sequence[int], seconds: Sequence[float]) -> tuple[float, float] | None:
    """(a, b) of seconds = a + b steps by least squares of relative errors; None for fewer than 3 lengths."""
    if len(set(steps)) < FEWEST:
        return None
    times = np.asarray(seconds, float)
    rows = np.stack([np.ones(len(times)), np.asarray(steps, float)], 1) / times[:, None]
    a, b = np.linalg.lstsq(rows, np.ones(len(times)), rcond=None)[0]
    return float(a), float(b)
