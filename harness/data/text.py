"""Texts as numbers, and answers against the right texts: where they end, how many edits they are apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def encoded(texts: Sequence[Sequence[str]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Texts of characters, or of symbols, as numbers: each symbol's place in a sorted alphabet.

    Returns all texts one after the other, their lengths, and the alphabet.
    """
    alphabet = sorted({symbol for text in texts for symbol in text})
    place = {symbol: number for number, symbol in enumerate(alphabet)}
    flat = np.array([place[symbol] for text in texts for symbol in text], np.int16)
    return flat, np.array([len(text) for text in texts]), np.array(alphabet)


def encoded_pairs(
    pairs: Sequence[tuple[Sequence[str], Sequence[str]]], *names: tuple[str, str, str]
) -> dict[str, np.ndarray]:
    """The first and the second text of all pairs, `encoded`, under three names each."""
    sides = zip(names, zip(*pairs, strict=True), strict=True)
    return {name: array for three, texts in sides for name, array in zip(three, encoded(texts), strict=True)}


def until(tokens: np.ndarray, end: int) -> list[list[int]]:
    """The rows of (N, U) as lists up to the first `end`, which is left out."""
    return [
        row[: int(np.argmax(row == end)) if (row == end).any() else len(row)].tolist()
        for row in np.asarray(tokens)
    ]


def distance(a: Sequence[object], b: Sequence[object]) -> int:
    """Fewest insertions, deletions and substitutions from a to b (Levenshtein 1966)."""
    last = list(range(len(b) + 1))
    for i, symbol in enumerate(a, 1):
        row = [i]
        for j, other in enumerate(b, 1):
            row.append(min(last[j] + 1, row[-1] + 1, last[j - 1] + (symbol != other)))
        last = row
    return last[-1]
