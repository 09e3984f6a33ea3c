"""Answers with a short memory, a target a step, from real inputs: the last input itself, or a linear model of
the last few.
"""

from __future__ import annotations

import numpy as np

from ..task import ONE_TO_MANY, Data, Rival, Sequences
from .fit import fitted

WINDOW = 8  # steps


def window_rivals(data: Data) -> list[Rival]:
    rivals = [
        fitted(name, data, window(data.train, steps), window(data.test, steps))
        for name, steps in (("present input, linear", 1), (f"last {WINDOW} inputs, linear", WINDOW))
    ]
    if data.classes is None and (channels := repeated(data)) is not None:
        answers = data.test.x[:, :, channels][data.test.scored]
        rivals.insert(0, Rival("last value again", float(np.mean((answers - data.test.targets) ** 2))))
    if (
        data.shape == ONE_TO_MANY
        and data.classes is None
        and all(np.all(p.scored) for p in (data.train, data.test))
    ):
        rivals.append(condition(data))
    return rivals


def window(part: Sequences, steps: int) -> np.ndarray:
    """(M, steps * I) for each target that counts the inputs up to its step, zeros before the first."""
    before = [
        np.pad(part.x, ((0, 0), (k, 0), (0, 0)))[:, : part.x.shape[1]][part.scored] for k in range(steps)
    ]
    return np.concatenate(before, 1)


def repeated(data: Data) -> list[int] | None:
    """The channels of x that hold, a step later, the values of y; None where there are none."""
    part = data.train
    scored = np.asarray(part.scored)
    both = scored[:, :-1] & scored[:, 1:]
    later, y = part.x[:, 1:][both], part.y[:, :-1][both]
    found = [
        [i for i in range(later.shape[1]) if np.allclose(later[:, i], y[:, k], atol=1e-6)]
        for k in range(y.shape[1])
    ]
    return [channels[0] for channels in found] if both.any() and all(found) else None


def condition(data: Data) -> Rival:
    """A linear model of each step's target from the first input alone: where that is one-hot, the mean of its
    class.
    """
    from sklearn.linear_model import LinearRegression

    flat = data.train.y.reshape(len(data.train), -1)
    answers = LinearRegression().fit(data.train.x[:, 0], flat).predict(data.test.x[:, 0])
    return Rival(
        "condition alone, linear", float(np.mean((answers - data.test.y.reshape(len(data.test), -1)) ** 2))
    )
