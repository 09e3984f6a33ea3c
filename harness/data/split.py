"""Both parts of a data set, and sequences of different lengths as one array."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..task import Sequences


def grouped(
    rng: np.random.Generator, groups: np.ndarray, test: int, count: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Indices of `count` members (all others: None) to learn from and `test` to test on; no group (N,) has
    some in both parts.

    There are fewer to learn from where the groups of the test part leave fewer. Raises ValueError where there
    are too few.
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
    left = rest[~np.isin(groups[rest], groups[held])]
    if not len(left):
        raise ValueError(f"test={test} of {len(groups)} leaves nothing to learn from; ask for fewer")
    return left[:count], held


def rows(flat: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
    """The sequences that lie one after the other along the last axis."""
    return np.split(flat, np.cumsum(lengths)[:-1], axis=-1)


def padded(rows: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """(N, T) tokens with zeros beyond each length, and the lengths (N,)."""
    lengths = np.array([len(row) for row in rows])
    tokens = np.zeros((len(rows), lengths.max()), np.int64)
    tokens[np.arange(tokens.shape[1]) < lengths[:, None]] = np.concatenate(rows)
    return tokens, lengths


def foretelling(rows: Sequence[np.ndarray], given: int, steps: int) -> Sequences:
    """From each row its tokens as x and the next ones as y, at most `steps` of them that count: those after
    the first `given`.
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
