"""A linear system without input: where is a damped oscillator at the next step?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..data import systems
from ..data.split import DRAWN
from ..task import Data, Sequences, Task, Truth


@dataclass(frozen=True)
class Oscillator(Task):
    """x_t (T, 1) is the last position, y_t the next one; both are observed with noise.

    The state turns and shrinks, s_t = radius R(2 pi / period) s_{t-1} from a standard normal s_0, and the
    position is its first coordinate. The floor is the error of the Kalman filter, which no predictor beats:
    noise and start are Gaussian. The exponent is log(radius). The first step does not count, for one position
    does not tell the speed.
    """

    steps: int = 60
    count: int = 1600
    radius: float = 0.98
    period: float = 11.3  # half periods do not end at a step, where d answer / d input would be 0
    noise: float = 0.05

    def __post_init__(self) -> None:
        sizes = self.steps >= 2 and self.count >= 1
        if not (sizes and 0 < self.radius <= 1 and self.period > 2 and 0 <= self.noise < np.inf):
            raise ValueError(
                f"oscillator has steps={self.steps}, count={self.count}, radius={self.radius},"
                f" period={self.period}, noise={self.noise}; steps >= 2, count >= 1, 0 < radius <= 1, period"
                " > 2, noise >= 0"
            )

    @property
    def matrix(self) -> np.ndarray:
        angle = 2 * np.pi / self.period
        return self.radius * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])

    def data(self, rng: np.random.Generator) -> Data:
        return systems.data_of(self.draw(rng, self.count), self.draw(rng, DRAWN), self.floor())

    def draw(self, rng: np.random.Generator, count: int) -> Sequences:
        path = [rng.standard_normal((count, 2))]
        for _ in range(self.steps):
            path.append(path[-1] @ self.matrix.T)
        return systems.next_value(np.stack(path)[..., :1], self.noise, rng, 2)

    def floor(self) -> float:
        """Mean over the steps that count of the variance of the next observation, given all before."""
        if self.noise == 0:  # two positions tell the state, and the filter's gain would be 0 / 0
            return 0.0
        read = np.array([[1.0, 0.0]])
        variance, expected = np.eye(2), []
        for _ in range(self.steps):  # the Kalman filter's variances, from that of the start
            gain = variance @ read.T / (variance[0, 0] + self.noise**2)
            variance = self.matrix @ (variance - gain @ read @ variance) @ self.matrix.T
            expected.append(variance[0, 0] + self.noise**2)
        return float(np.mean(expected[1:]))

    def truth(self, data: Data) -> Truth:
        still, long = np.zeros((self.steps - self.steps // 2, 1, 1)), np.zeros((systems.LONG, 1, 1))
        system = Delayed(self.radius, self.period)
        return systems.truth(system, np.zeros((1, 2)), still, long, autonomous=True)


@dataclass(frozen=True)
class Delayed:
    """The same in the last two positions: y_t = 2 r cos(w) y_{t-1} - r^2 y_{t-2}."""

    radius: float
    period: float

    @property
    def matrix(self) -> np.ndarray:
        return np.array([[2 * self.radius * np.cos(2 * np.pi / self.period), -(self.radius**2)], [1.0, 0.0]])

    def step(self, x: np.ndarray, u: np.ndarray) -> np.ndarray:
        return (x + u * [1, 0]) @ self.matrix.T

    def jacobians(self, x: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        by_x = np.broadcast_to(self.matrix, (len(x), 2, 2))
        return by_x, by_x[..., :1]

    def observe(self, x: np.ndarray) -> np.ndarray:
        return x[:, :1]

    def reading(self, x: np.ndarray) -> np.ndarray:
        return np.broadcast_to([[1.0, 0.0]], (len(x), 1, 2))
