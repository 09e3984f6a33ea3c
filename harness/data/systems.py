"""Systems that a cell has to identify: trajectories, exponents and lag profiles, from the true Jacobians.

A system is x_t = f(x_{t-1}, u_t), y_t = h(x_t). One without input is written in delays, x_t = (y_t, y_{t-1},
...). A cell is then fed the value y_{t-1}, and u_t is a displacement of it: 0, but for the derivative by it.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from ..task import MANY_TO_MANY, Data, Sequences, Truth
from .split import full_length

LONG = 4000  # steps that an exponent is averaged over
SHARE = 0.05  # of the variance that may be left unexplained where a system counts as learned


class System(Protocol):
    """States x (B, n), inputs u (B, M), observations (B, K)."""

    def step(self, x: np.ndarray, u: np.ndarray) -> np.ndarray:
        """The state after x and u."""
        ...

    def jacobians(self, x: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The Jacobians of that step by x (B, n, n) and by u (B, n, M)."""
        ...

    def observe(self, x: np.ndarray) -> np.ndarray:
        """What is seen of states x."""
        ...

    def reading(self, x: np.ndarray) -> np.ndarray:
        """The Jacobian of observe, (B, K, n)."""
        ...


def run(
    system: System, start: np.ndarray, u: np.ndarray, disturbance: np.ndarray | None = None
) -> np.ndarray:
    """States (T + 1, B, n) from start (B, n), by inputs u (T, B, M).

    A disturbance (T, B, n) is added to each state, and goes on through the later ones.
    """
    path = [start]
    for t, now in enumerate(u):
        path.append(system.step(path[-1], now) + (0 if disturbance is None else disturbance[t]))
    return np.stack(path)


def along(system: System, path: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Jacobians along a path (T + 1, B, n): by the state before (T, B, n, n), by the input (T, B, n, M)."""
    pairs = [system.jacobians(x, now) for x, now in zip(path, u, strict=False)]
    return np.stack([by_x for by_x, _ in pairs]), np.stack([by_u for _, by_u in pairs])


def truth(system: System, start: np.ndarray, u: np.ndarray, long_u: np.ndarray, autonomous: bool) -> Truth:
    """The lag profile at the end of u (T, B, M), the exponent along long_u (T, B', M); from start (B, n)."""
    path = run(system, start, u)
    reach = log_reach(*along(system, path, u), system.reading(path[-1]))
    far = run(system, start[: long_u.shape[1]], long_u)
    return Truth(largest_exponent(along(system, far, long_u)[0]), reach.mean(1), autonomous)


def log_reach(by_x: np.ndarray, by_u: np.ndarray, reading: np.ndarray) -> np.ndarray:
    """(T, B): log |dy_T/du_{T-k}| (Frobenius) by lag k.

    That is the norm of a product: reading (B, K, n) times the Jacobians that `along` gives. The product is
    scaled to 1 at every step and the scale kept as a logarithm, so that it neither overflows nor vanishes.
    """
    rows, scale, logs = reading, np.zeros(len(reading)), np.empty(by_x.shape[:2])
    for lag, t in enumerate(reversed(range(len(by_x)))):
        with np.errstate(divide="ignore"):  # a system that does not react has a norm of 0, and log -inf
            logs[lag] = scale + np.log(np.linalg.norm(rows @ by_u[t], axis=(1, 2)))
        rows = rows @ by_x[t]
        size = np.linalg.norm(rows, axis=(1, 2))
        size[size == 0] = 1  # a product of zeros stays what it is
        rows, scale = rows / size[:, None, None], scale + np.log(size)
    return logs


def largest_exponent(jacobians: np.ndarray, seed: int = 0) -> float:
    """Nats a step, along Jacobians (T, B, n, n): the growth of a random direction.

    The first quarter of the steps is left out: in it the direction turns towards the one that grows fastest.
    """
    v = np.random.default_rng(seed).standard_normal((*jacobians.shape[1:3], 1))
    growth = np.empty(jacobians.shape[:2])
    for t, matrix in enumerate(jacobians):
        v = matrix @ v
        size = np.linalg.norm(v, axis=(1, 2))
        with np.errstate(divide="ignore", invalid="ignore"):
            growth[t], v = np.log(size), v / size[:, None, None]
    return mean_growth(growth[len(growth) // 4 :])


def mean_growth(growth: np.ndarray) -> float:
    """Mean of (T, B) over samples and steps s = t/T, these weighted by exp(-1 / (s (1 - s))).

    Where a direction turns as it grows, a mean with equal weights settles with 1/T; this one settles faster
    than any power of T (Das et al. 2017, Nonlinearity 30).
    """
    s = (np.arange(len(growth)) + 0.5) / len(growth)
    weight = np.exp(-1 / (s * (1 - s)))
    return float(weight @ growth.mean(1) / weight.sum())


def data_of(train: Sequences, test: Sequences, least: float, floor_known: bool = True) -> Data:
    """Values to predict at every step.

    They count as learned where all but a twentieth of the variance above the least loss is explained.
    """
    learned = least + SHARE * (float(np.var(train.targets)) - least)
    return Data(train, test, None, learned, MANY_TO_MANY, floor=least if floor_known else None)


def sequences(x: np.ndarray, y: np.ndarray, first: int = 0) -> Sequences:
    """From x (T, N, I) and y (T, N, K), time first; the targets before step `first` do not count."""
    steps, count = x.shape[:2]
    scored = np.tile(np.arange(steps) >= first, (count, 1))
    return full_length(x.swapaxes(0, 1), y.swapaxes(0, 1), scored)


def next_value(y: np.ndarray, noise: float, rng: np.random.Generator, delays: int) -> Sequences:
    """From values (T + 1, N, 1): each step is fed one and asked for the next, both observed with noise.

    Targets count from the step on at which `delays` values have been seen, which tell the state.
    """
    seen = y + noise * rng.standard_normal(y.shape)
    return sequences(seen[:-1], seen[1:], delays - 1)


def long_inputs(data: Data) -> np.ndarray:
    """(T, 1, M): the test sequences one after the other, as long as an exponent needs."""
    x = data.test.x.astype(np.float64)
    return x.reshape(-1, 1, x.shape[2])[:LONG]
