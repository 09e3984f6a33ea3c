"""Spikes of a loss curve, and how long the training takes to be back where it was."""

from __future__ import annotations

import numpy as np

WINDOW = 100  # steps before, whose median and spread say what a spike is
STILL = 20  # steps whose median must be back under that median
WITHIN = 100  # steps


def spikes(losses: np.ndarray, window: int = WINDOW) -> int:
    """Steps whose loss is above the median of the window before by more than ten median absolute deviations."""
    return sum(is_spike(losses, k, window) for k in range(window, len(losses)))


def is_spike(losses: np.ndarray, k: int, window: int = WINDOW) -> bool:
    before = losses[k - window : k]
    median = np.median(before)
    return bool(losses[k] > median + 10 * np.median(np.abs(before - median)))


def recoveries(losses: np.ndarray, window: int = WINDOW, within: int = WITHIN) -> list[float]:
    """For each spike after the last one's end: steps until the median of the next 20 losses is back under
    that before the spike.

    inf where that takes more than `within` steps; a spike so near the end that it cannot be told is left out.
    """
    found, k = [], window
    while k < len(losses):
        if not is_spike(losses, k, window):
            k += 1
            continue
        level, last = np.median(losses[k - window : k]), min(within, len(losses) - STILL - k)
        took = next(
            (float(n) for n in range(1, last + 1) if np.median(losses[k + n : k + n + STILL]) <= level),
            np.inf,
        )
        if np.isfinite(took) or last == within:
            found.append(took)
        k += int(took) if np.isfinite(took) else within
    return found
