"""Systems that a cell has to identify: their trajectories and, from the true Jacobians, what is known of
them.

A system is x_t = f(x_{t-1}, u_t), y_t = h(x_t). One without input is written in delays, x_t = (y_t, y_{t-1},
...): what a cell is fed then is the value y_{t-1}, and the input u_t is a displacement of it, 0 unless one
asks what it does.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from ..task import MANY_TO_MANY, Data, Sequences, Truth

LONG = 4000  # steps that an exponent is averaged over
SHARE = 0.05  # of the variance that may be left unexplained where a system counts as learned


class System(Protocol):
    """States x (B, n), inputs u (B, M), observations (B, K)."""

    def step(self, x: np.ndarray, u: np.ndarray) -> np.ndarray:
        """The state after x and u."""
        ...

    def jacobians(self, x: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of that step: by x (B, n, n) and by u (B, n, M)."""
        ...

    def observe(self, x: np.ndarray) -> np.ndarray: ...

    def reading(self, x: np.ndarray) -> np.ndarray:
        """The Jacobian of observe, (B, K, n)."""
        ...


def run(
    system: System, start: np.ndarray, u: np.ndarray, disturbance: np.ndarray | None = None
) -> np.ndarray:
    """States (T + 1, B, n) from start (B, n), by inputs u (T, B, M); a disturbance (T, B, n) is added to the
    states.
    """
    path = [start]
    for t, now in enumerate(u):
        path.append(system.step(path[-1], now) + (0 if disturbance is None else disturbance[t]))
    return np.stack(path)


def along(system: System, path: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Jacobians (T, B, n, n) by the state before and (T, B, n, M) by the input, along a path (T + 1, B, n)."""
    found = [system.jacobians(x, now) for x, now in zip(path, u, strict=False)]
    return np.stack([by_x for by_x, _ in found]), np.stack([by_u for _, by_u in found])


def truth(system: System, start: np.ndarray, u: np.ndarray, long_u: np.ndarray, autonomous: bool) -> Truth:
    """The lag profile at the end of u (T, B, M), and the exponent along long_u (T, B', M), both from start
    (B, n).
    """
    path = run(system, start, u)
    reach = log_reach(*along(system, path, u), system.reading(path[-1]))
    far = run(system, start[: long_u.shape[1]], long_u)
    return Truth(largest_exponent(along(system, far, long_u)[0]), reach.mean(1), autonomous)


def log_reach(by_x: np.ndarray, by_u: np.ndarray, reading: np.ndarray) -> np.ndarray:
    """(T, B): log |dy_T/du_{T-k}| (Frobenius) by lag k, the product of reading (B, K, n) and the Jacobians
    that `along` gives.
    """
    rows, scale, logs = reading, np.zeros(len(reading)), np.empty(by_x.shape[:2])
    for lag, t in enumerate(reversed(range(len(by_x)))):
        with np.errstate(divide="ignore"):
            logs[lag] = scale + np.log(np.linalg.norm(rows @ by_u[t], axis=(1, 2)))
        rows = rows @ by_x[t]
        size = np.linalg.norm(rows, axis=(1, 2))
        size[size == 0] = 1
        rows, scale = rows / size[:, None, None], scale + np.log(size)
    return logs


def largest_exponent(jacobians: np.ndarray, seed: int = 0) -> float:
    """Nats a step, along Jacobians (T, B, n, n): the growth of a random direction after the first quarter of
    the steps.
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

    What turns as it grows has a mean that settles with 1/T where all steps count alike, and faster than any
    power of T so (Das et al. 2017, Nonlinearity 30).
    """
    s = (np.arange(len(growth)) + 0.5) / len(growth)
    weight = np.exp(-1 / (s * (1 - s)))
    return float(weight @ growth.mean(1) / weight.sum())


def data_of(train: Sequences, test: Sequences, least: float, floor_known: bool = True) -> Data:
    """Values to predict at every step; learned where all but a twentieth of what is above the least loss is
    explained.
    """
    learned = least + SHARE * (float(np.var(train.targets)) - least)
    return Data(train, test, None, learned, MANY_TO_MANY, floor=least if floor_known else None)


def sequences(x: np.ndarray, y: np.ndarray, first: int = 0) -> Sequences:
    """Time first, x (T, N, I) and y (T, N, K), all of full length; the targets before step `first` do not
    count.
    """
    steps, count = x.shape[:2]
    scored = np.tile(np.arange(steps) >= first, (count, 1))
    return Sequences(x.swapaxes(0, 1), np.full(count, steps), y.swapaxes(0, 1), scored)


def next_value(y: np.ndarray, noise: float, rng: np.random.Generator, delays: int) -> Sequences:
    """From values (T + 1, N, 1): each step is fed the last one and asked for the next, both observed with
    noise.
    """
    seen = y + noise * rng.standard_normal(y.shape)
    return sequences(seen[:-1], seen[1:], delays - 1)


def long_inputs(data: Data) -> np.ndarray:
    """(T, 1, M): the test sequences one after the other, as long as an exponent needs."""
    x = data.test.x.astype(np.float64)
    return x.reshape(-1, 1, x.shape[2])[:LONG]
