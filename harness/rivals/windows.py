"""Answers with a short memory: the last value itself, or a linear model of the last few inputs."""

from __future__ import annotations

import numpy as np

from ..extras import requires
from ..task import ONE_TO_MANY, Data, Rival, Sequences
from .fit import USE, fitted

WINDOW = 8  # steps


def window_rivals(data: Data) -> list[Rival]:
    """Those of inputs that are values."""
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
    channels = [
        [i for i in range(later.shape[1]) if np.allclose(later[:, i], y[:, k], atol=1e-6)]
        for k in range(y.shape[1])
    ]
    # without two neighbours that count any channel would seem to hold them
    return [candidates[0] for candidates in channels] if both.any() and all(channels) else None


def condition(data: Data) -> Rival:
    """A linear model of all targets from the first input: where that is one-hot, the mean of its class."""
    requires("sklearn", USE)
    from sklearn.linear_model import LinearRegression

    flat = data.train.y.reshape(len(data.train), -1)
    answers = LinearRegression().fit(data.train.x[:, 0], flat).predict(data.test.x[:, 0])
    squares = (answers - data.test.y.reshape(len(data.test), -1)) ** 2
    return Rival("condition alone, linear", float(np.mean(squares)))
