"""A linear system without input: a damped oscillator, whose next position is asked for at every step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..data import systems
from ..task import Task


@dataclass(frozen=True)
class Oscillator(Task):
    """x_t = radius R(2 pi / period) x_{t-1} from a standard normal x_0; y_t is its first coordinate, with
    noise.

    The floor is the error of the Kalman filter, which no predictor beats: noise and start are Gaussian. Its
    exponent is log(radius). The first step does not count, for one position does not tell the speed.
    """

    steps: int = 60
    count: int = 1600
    radius: float = 0.98
    period: float = 11.3  # half periods do not end at a step, where d answer / d input would be 0
    noise: float = 0.05

    def __post_init__(self):
        if (
            self.steps < 2
            or self.count < 1
            or not 0 < self.radius <= 1
            or not self.period > 2
            or not 0 <= self.noise < np.inf
        ):
            raise ValueError(
                f"oscillator has steps={self.steps}, count={self.count}, radius={self.radius},"
                f" period={self.period}, noise={self.noise}; steps >= 2, count >= 1, 0 < radius <= 1, period"
                " > 2, noise >= 0"
            )

    @property
    def matrix(self) -> np.ndarray:
        angle = 2 * np.pi / self.period
        return self.radius * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])

    def data(self, rng):
        return systems.data_of(self.draw(rng, self.count), self.draw(rng, 1000), self.floor())

    def draw(self, rng, count):
        x = [rng.standard_normal((count, 2))]
        for _ in range(self.steps):
            x.append(x[-1] @ self.matrix.T)
        return systems.next_value(np.stack(x)[..., :1], self.noise, rng, 2)

    def floor(self):
        """Mean over the steps that count of the variance of the next observation, given all before."""
        variance, expected, read = np.eye(2), [], np.array([[1.0, 0.0]])
        if self.noise == 0:
            return 0.0
        for _ in range(self.steps):
            gain = variance @ read.T / (variance[0, 0] + self.noise**2)
            variance = self.matrix @ (variance - gain @ read @ variance) @ self.matrix.T
            expected.append(variance[0, 0] + self.noise**2)
        return float(np.mean(expected[1:]))

    def truth(self, data):
        still, long = np.zeros((self.steps - self.steps // 2, 1, 1)), np.zeros((systems.LONG, 1, 1))
        return systems.truth(
            Delayed(self.radius, self.period), np.zeros((1, 2)), still, long, autonomous=True
        )


@dataclass(frozen=True)
class Delayed:
    """The same in the last two positions: y_t = 2 r cos(w) y_{t-1} - r^2 y_{t-2}."""

    radius: float
    period: float

    @property
    def matrix(self):
        return np.array([[2 * self.radius * np.cos(2 * np.pi / self.period), -(self.radius**2)], [1.0, 0.0]])

    def step(self, x, u):
        return (x + u * [1, 0]) @ self.matrix.T

    def jacobians(self, x, u):
        by_x = np.broadcast_to(self.matrix, (len(x), 2, 2))
        return by_x, by_x[..., :1]

    def observe(self, x):
        return x[:, :1]

    def reading(self, x):
        return np.broadcast_to([[1.0, 0.0]], (len(x), 1, 2))
