"""A nonlinear system with input, partly observed: the sine of the angle of a pendulum pushed at random."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..data import systems
from ..data.split import DRAWN
from ..task import Data, Sequences, Task, Truth

TRAJECTORIES = 64  # that the truth is averaged over


@dataclass(frozen=True)
class Pendulum(Task):
    """x is the push u (T, 1), white and uniform in [-1, 1]; y is sin(theta) of a damped pendulum, with noise.

    theta'' = -sin(theta) - damping theta' + push u_t, by semi-implicit Euler steps of length dt from rest.
    The start is known and no noise enters the state, so the floor is the noise's variance.
    """

    steps: int = 60
    count: int = 1600
    dt: float = 0.3
    damping: float = 0.5
    push: float = 4.0
    noise: float = 0.05

    def __post_init__(self) -> None:
        fits = (
            0 < self.dt <= 1 and 0 < self.damping <= 1 and 0 < self.push < np.inf and 0 <= self.noise < np.inf
        )
        if self.steps < 2 or self.count < 1 or not fits:
            raise ValueError(
                f"pendulum has steps={self.steps}, count={self.count}, dt={self.dt}, damping={self.damping},"
                f" push={self.push}, noise={self.noise}; steps >= 2, count >= 1, dt and damping above 0 and"
                " at most 1, push > 0, noise >= 0"
            )

    @property
    def system(self) -> Pushed:
        return Pushed(self.dt, self.damping, self.push)

    def data(self, rng: np.random.Generator) -> Data:
        return systems.data_of(self.draw(rng, self.count), self.draw(rng, DRAWN), self.noise**2)

    def draw(self, rng: np.random.Generator, count: int) -> Sequences:
        u = rng.uniform(-1, 1, (self.steps, count, 1))
        y = np.sin(systems.run(self.system, np.zeros((count, 2)), u)[1:, :, :1])
        return systems.sequences(u, y + self.noise * rng.standard_normal(y.shape))

    def truth(self, data: Data) -> Truth:
        u = data.test.x.astype(np.float64).swapaxes(0, 1)[:, :TRAJECTORIES]
        rest = np.zeros((u.shape[1], 2))
        return systems.truth(self.system, rest, u, systems.long_inputs(data), autonomous=False)


@dataclass(frozen=True)
class Pushed:
    """x = (theta, omega)."""

    dt: float
    damping: float
    push: float

    def step(self, x: np.ndarray, u: np.ndarray) -> np.ndarray:
        theta, omega = x.T
        omega = omega + self.dt * (self.push * u[:, 0] - np.sin(theta) - self.damping * omega)
        return np.stack([theta + self.dt * omega, omega], 1)

    def jacobians(self, x: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        by_x, by_u = np.empty((len(x), 2, 2)), np.empty((len(x), 2, 1))
        by_x[:, 1, 0] = -self.dt * np.cos(x[:, 0])
        by_x[:, 1, 1] = 1 - self.dt * self.damping
        by_u[:, 1] = self.dt * self.push
        # semi-implicit: theta moves with the new omega
        by_x[:, 0], by_u[:, 0] = [1, 0] + self.dt * by_x[:, 1], self.dt * by_u[:, 1]
        return by_x, by_u

    def observe(self, x: np.ndarray) -> np.ndarray:
        return np.sin(x[:, :1])

    def reading(self, x: np.ndarray) -> np.ndarray:
        return np.stack([np.cos(x[:, :1]), np.zeros((len(x), 1))], 2)
