"""Digits: images of 8 x 8 pixels read row by row or pixel by pixel, in their order or in another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..task import Data, Sequences, Task

TEST = 360  # the last fifth
BY = ("row", "pixel")


@dataclass(frozen=True)
class Digits(Task):
    """x (8, 8) with by=row, (64, 1) with by=pixel, in [0, 1]; y the digit. 1,437 to learn from, 360 to test
    on.

    UCI's "Optical Recognition of Handwritten Digits", the part inside scikit-learn (CC BY 4.0; nothing to
    fetch). Images of a writer seem to be neighbours, so that the last ones are the test: logistic regression
    on all pixels is right in 98 % of a random split and in 90 % of this one (0.34 nats). `permuted` reads the
    pixels in an order drawn once, the same for every seed, in which what belongs together is far apart. The
    target, 0.6 nats, is one that a GRU of 64 reaches by rows within ten epochs; pixel by pixel it takes many
    times as long.
    """

    by: str = "row"
    permuted: bool = False

    def __post_init__(self):
        if self.by not in BY:
            raise ValueError(f"{self.name} has by={self.by!r}; it reads by {' or by '.join(BY)}")

    def data(self, rng):
        from sklearn.datasets import load_digits

        images, y = load_digits(return_X_y=True)
        return self.read(
            images / 16, y, np.arange(len(y) - TEST), np.arange(len(y) - TEST, len(y)), target_loss=0.6
        )

    def read(
        self, images: np.ndarray, y: np.ndarray, train: np.ndarray, test: np.ndarray, target_loss: float
    ) -> Data:
        """Both parts of square images (N, pixels) as sequences."""
        if self.permuted:
            images = images[:, np.random.default_rng(0).permutation(images.shape[1])]
        width = 1 if self.by == "pixel" else int(np.sqrt(images.shape[1]))
        x = images.astype(np.float32).reshape(len(images), -1, width)
        parts = [Sequences(x[p], np.full(len(p), x.shape[1]), y[p]) for p in (train, test)]
        return Data(parts[0], parts[1], classes=10, target_loss=target_loss)
