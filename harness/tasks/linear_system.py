"""A linear system with input, partly observed: what is its output at every step?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..data import systems
from ..data.split import DRAWN
from ..task import Data, Sequences, Task, Truth


@dataclass(frozen=True)
class LinearSystem(Task):
    """x is the input u (T, 1), white and standard normal; y is the output of a random stable linear system.

    Its state is x_t = A x_{t-1} + B u_t + w_t from x_0 = 0, and y_t = C x_t + v_t. A is Gaussian, scaled to
    the spectral radius; without noise y settles at variance 1. w and v are white and independent, of
    deviations `process_noise` (each state) and `noise`. The cell sees u alone, so that both are its floor.
    system draws A, B and C; other seeds draw other data of the same system.
    """

    steps: int = 60
    count: int = 1600
    states: int = 4
    radius: float = 0.9
    noise: float = 0.1
    process_noise: float = 0.0
    system: int = 0

    def __post_init__(self) -> None:
        sizes = self.steps >= 2 and self.count >= 1 and self.states >= 1 and self.system >= 0
        noises = all(0 <= noise < np.inf for noise in (self.noise, self.process_noise))
        if not (sizes and noises and 0 < self.radius < 1):
            raise ValueError(
                f"linear_system has steps={self.steps}, count={self.count}, states={self.states},"
                f" radius={self.radius}, noise={self.noise}, process_noise={self.process_noise},"
                f" system={self.system}; steps >= 2, count and states >= 1, 0 < radius < 1, the others >= 0"
            )

    def linear(self) -> Linear:
        """The system (A, B, C) itself."""
        rng, n = np.random.default_rng(self.system), self.states
        a, b, c = (rng.standard_normal(shape) for shape in ((n, n), (n, 1), (1, n)))
        a *= self.radius / np.abs(np.linalg.eigvals(a)).max()
        return Linear(a, b, c / np.sqrt(settled_variance(a, b, c)))

    def data(self, rng: np.random.Generator) -> Data:
        return systems.data_of(self.draw(rng, self.count), self.draw(rng, DRAWN), self.floor())

    def draw(self, rng: np.random.Generator, count: int) -> Sequences:
        system, u = self.linear(), rng.standard_normal((self.steps, count, 1))
        w = self.process_noise * rng.standard_normal((self.steps, count, self.states))
        path = systems.run(system, np.zeros((count, self.states)), u, w)
        y = path[1:] @ system.c.T
        return systems.sequences(u, y + self.noise * rng.standard_normal(y.shape))

    def floor(self) -> float:
        """The variance that w and v give y, mean over the steps."""
        system, variance, by_step = self.linear(), np.zeros((self.states, self.states)), []
        for _ in range(self.steps):
            variance = system.a @ variance @ system.a.T + self.process_noise**2 * np.eye(self.states)
            by_step.append((system.c @ variance @ system.c.T).item())
        return float(np.mean(by_step)) + self.noise**2

    def truth(self, data: Data) -> Truth:
        # one sequence is enough: the Jacobians are the same along every input
        u = data.test.x.astype(np.float64).swapaxes(0, 1)[:, :1]
        start, long = np.zeros((1, self.states)), np.zeros((systems.LONG, 1, 1))
        return systems.truth(self.linear(), start, u, long, autonomous=False)


def settled_variance(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> float:
    """The variance of y for white standard normal inputs: P = A P A' + B B', then C P C'."""
    from scipy.linalg import solve_discrete_lyapunov

    return (c @ solve_discrete_lyapunov(a, b @ b.T) @ c.T).item()


@dataclass(frozen=True)
class Linear:
    """x_t = A x_{t-1} + B u_t, y_t = C x_t."""

    a: np.ndarray
    b: np.ndarray
    c: np.ndarray

    def step(self, x: np.ndarray, u: np.ndarray) -> np.ndarray:
        return x @ self.a.T + u @ self.b.T

    def jacobians(self, x: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        by_x, by_u = (np.broadcast_to(m, (len(x), *m.shape)) for m in (self.a, self.b))
        return by_x, by_u

    def observe(self, x: np.ndarray) -> np.ndarray:
        return x @ self.c.T

    def reading(self, x: np.ndarray) -> np.ndarray:
        return np.broadcast_to(self.c, (len(x), *self.c.shape))
