"""Answers to a sequence-to-sequence task against the right ones: where they end, and how many edits they are
apart.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def until(tokens: np.ndarray, end: int) -> list[list[int]]:
    """The rows of (N, U) as lists up to the first `end`, which is left out."""
    return [
        row[: int(np.argmax(row == end)) if (row == end).any() else len(row)].tolist()
        for row in np.asarray(tokens)
    ]


def distance(a: Sequence[int], b: Sequence[int]) -> int:
    """Fewest insertions, deletions and substitutions from a to b (Levenshtein 1966)."""
    last = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        row = [i]
        for j, right in enumerate(b, 1):
            row.append(min(last[j] + 1, row[-1] + 1, last[j - 1] + (left != right)))
        last = row
    return last[-1]
