"""Counts of a class after its context, the last few tokens: unigram, bigram and trigram.

They are interpolated as Witten & Bell 1991 do, so that a context never seen falls back on a shorter one.
"""

from __future__ import annotations

import numpy as np

from ..task import TO_SEQUENCE, Data, Rival, Sequences

ORDERS = 3  # a context of 0, 1 and 2 tokens


def context_rivals(data: Data) -> list[Rival]:
    """What the counts of each order reach, from shortest to longest context."""
    known, query = contexts(data, data.train), contexts(data, data.test)
    ngrams, inputs = ("unigram", "bigram", "trigram"), ("no input", "present input", "last two inputs")
    return [
        measured(name, data, known[:, ORDERS - 1 - k :], query[:, ORDERS - 1 - k :])
        for k, name in enumerate(ngrams if foretells(data) else inputs)
    ]


def foretells(data: Data) -> bool:
    """Whether each target is the token that comes next, so that its context is the targets before it."""
    if data.shape == TO_SEQUENCE:
        return True
    part = data.train
    both = np.asarray(part.scored)[:, :-1] & (np.arange(1, part.x.shape[1]) < part.lengths[:, None])
    return bool(both.any()) and np.array_equal(part.x[:, 1:][both], part.y[:, :-1][both])


def contexts(data: Data, part: Sequences) -> np.ndarray:
    """(M, 2) the last two tokens before each target that counts, the nearer one last.

    They are those of x, or for a decoder its own targets. Before the first there is a token of its own.
    """
    decoder = data.shape == TO_SEQUENCE
    first = data.output_size if decoder else data.vocabulary or 0
    tokens = delayed(part.y, first) if decoder else part.x
    return np.stack([delayed(tokens, first), tokens], 2)[part.scored]


def delayed(tokens: np.ndarray, first: int) -> np.ndarray:
    """Tokens (N, T) a step later, after `first`."""
    return np.pad(tokens[:, :-1], ((0, 0), (1, 0)), constant_values=first)


def measured(name: str, data: Data, known: np.ndarray, query: np.ndarray) -> Rival:
    """From contexts (M, k) of the training part and of the test part."""
    distinct, row = np.unique(query, axis=0, return_inverse=True)
    shares = witten_bell(known, data.train.targets, distinct, data.output_size)
    row, y = row.reshape(-1), data.test.targets
    return Rival(name, float(-np.mean(np.log(shares[row, y]))), float(np.mean(shares.argmax(1)[row] == y)))


def witten_bell(contexts: np.ndarray, y: np.ndarray, query: np.ndarray, classes: int) -> np.ndarray:
    """(Q, classes) the probability of each class in each query (Q, k), after y (M,) in contexts (M, k).

    p(c | h) = (n(h, c) + d(h) p(c | h')) / (n(h) + d(h)), where d(h) is the number of distinct classes seen
    after h and h' is h without its farthest token; after no token p(c | h') is 1 / classes.
    """
    steps = contexts.shape[1]
    lower = (
        witten_bell(contexts[:, 1:], y, query[:, 1:], classes)
        if steps
        else np.full((len(query), classes), 1 / classes)
    )
    base = 1 + max(contexts.max(initial=0), query.max(initial=0))
    known, wanted = (tokens @ base ** np.arange(steps) for tokens in (contexts, query))  # a number a context
    distinct, row = np.unique(wanted, return_inverse=True)
    place = np.searchsorted(distinct, known).clip(max=len(distinct) - 1)
    met = distinct[place] == known
    counts = np.bincount(place[met] * classes + y[met], minlength=len(distinct) * classes).reshape(
        -1, classes
    )[row]
    kinds = (counts > 0).sum(1, keepdims=True)
    total = counts.sum(1, keepdims=True) + kinds
    return np.where(total > 0, (counts + kinds * lower) / np.maximum(total, 1), lower)
