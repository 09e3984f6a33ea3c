"""Texts as numbers: each character's place in a sorted alphabet."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def encoded(texts: Sequence[Sequence[str]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All texts (of characters, or of symbols) one after the other as numbers, their lengths, and the
    alphabet.
    """
    alphabet = sorted({symbol for text in texts for symbol in text})
    place = {symbol: number for number, symbol in enumerate(alphabet)}
    flat = np.array([place[symbol] for text in texts for symbol in text], np.int16)
    return flat, np.array([len(text) for text in texts]), np.array(alphabet)
