"""The sequences that the anchors learn from: delayed recall, temporal order, adding with early markers."""

from __future__ import annotations

import numpy as np

from ...tasks.temporal_order import TemporalOrder

Drawn = tuple[np.ndarray, np.ndarray]
ORDERS = TemporalOrder(steps=20)
TRIVIAL_ADDING = 1 / 24  # variance of .5 + (x1 + x2) / 4, x uniform in (-1, 1)


def recall(rng: np.random.Generator, batch: int, steps: int) -> Drawn:
    """Which of 4 classes was shown at t = 0?

    x (T, B, 6): the class one-hot, noise of sd .5 at every step, a trigger at t = 0.
    """
    y = rng.integers(0, 4, batch)
    x = np.zeros((steps, batch, 6), np.float32)
    x[:, :, 4] = 0.5 * rng.standard_normal((steps, batch))
    x[0, np.arange(batch), y] = 1
    x[0, :, 5] = 1
    return x, y


def temporal_order(rng: np.random.Generator, batch: int) -> Drawn:
    """The task of that name at T = 20, as x (T, B, 6)."""
    drawn = ORDERS.draw(rng, batch)
    return np.ascontiguousarray(drawn.x.swapaxes(0, 1)), drawn.y


def adding_early(rng: np.random.Generator, batch: int, steps: int) -> Drawn:
    """Adding with early markers: y = .5 + (x1 + x2) / 4.

    x (T, B, 2): uniform in (-1, 1), and markers of 1, one in [0, T/10) and one in [T/10, T/2).
    """
    x = np.zeros((steps, batch, 2), np.float32)
    x[..., 0] = rng.uniform(-1, 1, (steps, batch))
    y = np.full((batch, 1), 0.5, np.float32)
    rows = np.arange(batch)
    for low, high in ((0, steps // 10), (steps // 10, steps // 2)):
        places = rng.integers(low, high, batch)
        x[places, rows, 1] = 1
        y[:, 0] += x[places, rows, 0] / 4
    return x, y
