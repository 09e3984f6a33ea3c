"""Data sets in two parts that share nothing, and sequences of different lengths as one array.

Splits are by group: versions of one tune, windows that overlap, or sentences that are there twice lie in one
part. Otherwise a model would be tested on what it has seen, and remembering would pass for generalising.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..task import Sequences

DRAWN = 1000  # sequences of the test part of a synthetic task: drawn, so there are as many as one wants


def grouped(
    rng: np.random.Generator, groups: np.ndarray, test: int, count: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Indices of `count` members (None: all others) to learn from, and of `test` to test on.

    groups (N,) has the group of each member; none has members in both parts. There are fewer to learn from
    where the groups of the test part leave fewer. Raises ValueError where there are too few.
    """
    most = len(groups) - 1 if count is None else len(groups) - count
    if not (count is None or 0 < count < len(groups)) or not 0 < test <= most:
        given = f"test={test}" if count is None else f"count={count} and test={test}"
        raise ValueError(
            f"{given} of {len(groups)} sequences; each part needs at least 1, and together they are at"
            " most all"
        )
    order = rng.permutation(len(groups))
    held, rest = order[:test], order[test:]
    # the test part is drawn first and keeps its size; members of its groups are then left out of training
    train = rest[~np.isin(groups[rest], groups[held])]
    if not len(train):
        raise ValueError(f"test={test} of {len(groups)} leaves nothing to learn from; ask for fewer")
    return train[:count], held


def rows(flat: np.ndarray, lengths: np.ndarray, axis: int = -1) -> list[np.ndarray]:
    """The sequences that lie one after the other along an axis."""
    return np.split(flat, np.cumsum(lengths)[:-1], axis=axis)


def full_length(x: np.ndarray, y: np.ndarray, scored: np.ndarray | None = None) -> Sequences:
    """Sequences x (N, T, ...) that all have T steps."""
    return Sequences(x, np.full(len(x), x.shape[1]), y, scored)


def padded(rows: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    """(N, T) tokens, or (N, T, I) float32 values, with zeros beyond each length; and the lengths (N,)."""
    lengths, flat = np.array([len(row) for row in rows]), np.concatenate(rows)
    kind = np.float32 if flat.dtype.kind == "f" else np.int64
    filled = np.zeros((len(rows), lengths.max(), *flat.shape[1:]), kind)
    filled[np.arange(filled.shape[1]) < lengths[:, None]] = flat
    return filled, lengths


def foretelling(rows: Sequence[np.ndarray], given: int, steps: int) -> Sequences:
    """From each row its tokens as x and the next ones as y.

    Those after the first `given` count, at most `steps` of them.
    """
    x, lengths = padded([row[:-1][: given - 1 + steps] for row in rows])
    y, _ = padded([row[1:][: given - 1 + steps] for row in rows])
    step = np.arange(x.shape[1])
    return Sequences(x, lengths, y, (step >= given - 1) & (step < lengths[:, None]))


def to_sequences(sources: Sequence[np.ndarray], targets: Sequence[np.ndarray], end: int) -> Sequences:
    """Sequence to sequence: each target followed by the class `end`, which counts too."""
    x, lengths = padded(sources)
    y, ends = padded([np.append(target, end) for target in targets])
    return Sequences(x, lengths, y, np.arange(y.shape[1]) < ends[:, None])
