"""Linear models of a whole sequence that know no order, or every position apart: many to one."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from ..extras import requires
from ..task import Data, Rival, Sequences
from .fit import USE, fitted

WIDEST = 1024  # features of the model of every position; more than that it is left out


def order_free_rivals(data: Data) -> list[Rival]:
    """One that knows no order and, for short sequences of one length, one that knows every position."""
    if data.vocabulary is not None:
        rivals = [fitted("bag of 1-2-grams, linear", data, *bags(data), scale=False)]
    else:
        rivals = [fitted("order-free linear", data, moments(data.train), moments(data.test))]
    lengths = np.concatenate([data.train.lengths, data.test.lengths])
    width = data.train.x.shape[1] * (data.vocabulary or data.train.x.shape[-1])
    if lengths.min() == lengths.max() and width <= WIDEST:
        known, query = flat(data, data.train), flat(data, data.test)
        rivals.append(
            fitted("every position apart, linear", data, known, query, scale=data.vocabulary is None)
        )
    return rivals


def moments(part: Sequences) -> np.ndarray:
    """(N, 2 I) mean and standard deviation over each sequence's steps."""
    within = (np.arange(part.x.shape[1]) < part.lengths[:, None])[:, :, None]
    x, count = part.x.astype(np.float64), part.lengths[:, None]
    mean = (x * within).sum(1) / count
    variance = ((x - mean[:, None]) ** 2 * within).sum(1) / count
    return np.concatenate([mean, np.sqrt(variance)], 1)


def bags(data: Data) -> tuple[Any, Any]:
    """Both parts as sparse tf-idf weights of those tokens and pairs that the training part has."""
    requires("sklearn", USE)
    from sklearn.feature_extraction.text import TfidfVectorizer

    weigh = TfidfVectorizer(analyzer=grams, sublinear_tf=True)
    rows = [[x[:n].tolist() for x, n in zip(p.x, p.lengths, strict=True)] for p in (data.train, data.test)]
    return weigh.fit_transform(rows[0]), weigh.transform(rows[1])


def grams(tokens: list[int]) -> list[tuple[int, ...]]:
    """Tokens, and pairs of neighbours."""
    return [*((token,) for token in tokens), *pairwise(tokens)]


def flat(data: Data, part: Sequences) -> np.ndarray:
    """(N, T I) all steps side by side, tokens one-hot."""
    x = part.x if data.vocabulary is None else np.eye(data.vocabulary, dtype=np.float32)[part.x]
    return x.reshape(len(x), -1)
