"""Pen strokes: given a digit, draw it, point by point as writers do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..task import ONE_TO_MANY, Data, Sequences, Task
from .pen_digits import (
    POINTS,
    parts,
)

CLASSES = 10


@dataclass(frozen=True)
class PenStrokes(Task):
    """x (8, 12): the digit one-hot and the point before (zeros before the first); y (8, 2) the points, all
    scored.

    The pen digits (UCI, CC BY 4.0) backwards, in the same parts: the writers of the test are others. The same
    digit is begun at different ends, so that the first point cannot be known, and no error is near zero. The
    target, a squared error of 0.025, is less than the digit's mean path has (0.046) and a linear answer from
    the digit and all points so far (0.028); a GRU of 64 reaches it in about three epochs of Adam.
    """

    def data(self, rng):
        return Data(*(drawing(*part) for part in parts()), classes=None, target_loss=0.025, shape=ONE_TO_MANY)


def drawing(points: np.ndarray, digits: np.ndarray) -> Sequences:
    before = np.concatenate([np.zeros_like(points[:, :1]), points[:, :-1]], 1)
    digit = np.repeat(np.eye(CLASSES, dtype=np.float32)[digits][:, None], POINTS, 1)
    return Sequences(
        np.concatenate([digit, before], 2),
        np.full(len(points), POINTS),
        points,
        np.ones((len(points), POINTS), bool),
    )
