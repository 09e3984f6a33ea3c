"""A linear system with input, partly observed: a random stable one, whose output is asked for at every step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..data import systems
from ..task import Task


@dataclass(frozen=True)
class LinearSystem(Task):
    """x_t = A x_{t-1} + B u_t + w_t from x_0 = 0, y_t = C x_t + v_t; u is white and standard normal.

    A is Gaussian, scaled to the spectral radius; without noise y settles at variance 1. w and v are white, of deviations
    `process_noise` (each state) and `noise`, and independent of each other; the cell sees u alone, so that both are its floor.
    system draws A, B and C; other seeds draw other data of the same system.
    """

    steps: int = 60
    count: int = 1600
    states: int = 4
    radius: float = 0.9
    noise: float = 0.1
    process_noise: float = 0.0
    system: int = 0

    def __post_init__(self):
        sizes = self.steps >= 2 and self.count >= 1 and self.states >= 1 and self.system >= 0
        if (
            not sizes
            or not 0 < self.radius < 1
            or not 0 <= self.noise < np.inf
            or not 0 <= self.process_noise < np.inf
        ):
            raise ValueError(
                f"linear_system has steps={self.steps}, count={self.count}, states={self.states},"
                f" radius={self.radius}, noise={self.noise}, process_noise={self.process_noise},"
                f" system={self.system}; steps >= 2, count and states >= 1, 0 < radius < 1, the others >= 0"
            )

    def linear(self):
        """The system (A, B, C) itself."""
        rng = np.random.default_rng(self.system)
        a, b, c = (
            rng.standard_normal(s) for s in ((self.states, self.states), (self.states, 1), (1, self.states))
        )
        a *= self.radius / np.abs(np.linalg.eigvals(a)).max()
        return Linear(a, b, c / np.sqrt(settled_variance(a, b, c)))

    def data(self, rng):
        return systems.data_of(self.draw(rng, self.count), self.draw(rng, 1000), self.floor())

    def draw(self, rng, count):
        system, u = self.linear(), rng.standard_normal((self.steps, count, 1))
        w = self.process_noise * rng.standard_normal((self.steps, count, self.states))
        path = systems.run(system, np.zeros((count, self.states)), u, w)
        y = path[1:] @ system.c.T
        return systems.sequences(u, y + self.noise * rng.standard_normal(y.shape))

    def floor(self):
        """The variance that w and v give y, mean over the steps."""
        system, variance, found = self.linear(), np.zeros((self.states, self.states)), []
        for _ in range(self.steps):
            variance = system.a @ variance @ system.a.T + self.process_noise**2 * np.eye(self.states)
            found.append((system.c @ variance @ system.c.T).item())
        return float(np.mean(found)) + self.noise**2

    def truth(self, data):
        u = data.test.x.astype(np.float64).swapaxes(0, 1)[
            :, :1
        ]  # the Jacobians are the same along every input
        return systems.truth(
            self.linear(), np.zeros((1, self.states)), u, np.zeros((systems.LONG, 1, 1)), autonomous=False
        )


def settled_variance(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> float:
    """Of y, for white standard normal inputs: P = A P A' + B B', then C P C'."""
    from scipy.linalg import solve_discrete_lyapunov

    return (c @ solve_discrete_lyapunov(a, b @ b.T) @ c.T).item()


@dataclass(frozen=True)
class Linear:
    a: np.ndarray
    b: np.ndarray
    c: np.ndarray

    def step(self, x, u):
        return x @ self.a.T + u @ self.b.T

    def jacobians(self, x, u):
        return tuple(np.broadcast_to(m, (len(x), *m.shape)) for m in (self.a, self.b))

    def observe(self, x):
        return x @ self.c.T

    def reading(self, x):
        return np.broadcast_to(self.c, (len(x), *self.c.shape))
