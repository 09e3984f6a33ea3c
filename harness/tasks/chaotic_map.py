"""A nonlinear system without input: what is the next value of the Henon or the logistic map?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..data import systems
from ..data.split import DRAWN
from ..task import Data, Sequences, Task, Truth

SETTLING = 100  # steps from the start to the attractor
TRAJECTORIES = 64  # that the truth is averaged over


@dataclass(frozen=True)
class Henon:
    """y_t = 1 - 1.4 y_{t-1}^2 + 0.3 y_{t-2} (Henon 1976); its largest exponent is .419 nats."""

    delays = 2

    def start(self, rng: np.random.Generator, count: int) -> np.ndarray:
        return rng.uniform(-0.1, 0.1, (count, 2))

    def step(self, x: np.ndarray, u: np.ndarray) -> np.ndarray:
        now = x[:, :1] + u
        return np.concatenate([1 - 1.4 * now**2 + 0.3 * x[:, 1:], now], 1)

    def jacobians(self, x: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        by_x = np.zeros((len(x), 2, 2))
        by_x[:, 0, 0], by_x[:, 0, 1], by_x[:, 1, 0] = -2.8 * (x[:, 0] + u[:, 0]), 0.3, 1
        return by_x, by_x[..., :1]

    def observe(self, x: np.ndarray) -> np.ndarray:
        return x[:, :1]

    def reading(self, x: np.ndarray) -> np.ndarray:
        return np.broadcast_to([[1.0, 0.0]], (len(x), 1, 2))


@dataclass(frozen=True)
class Logistic:
    """y_t = 4 y_{t-1} (1 - y_{t-1}); its exponent is ln 2."""

    delays = 1

    def start(self, rng: np.random.Generator, count: int) -> np.ndarray:
        return rng.uniform(0.1, 0.9, (count, 1))

    def step(self, x: np.ndarray, u: np.ndarray) -> np.ndarray:
        return 4 * (x + u) * (1 - x - u)

    def jacobians(self, x: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        by_x = (4 - 8 * (x + u))[..., None]
        return by_x, by_x

    def observe(self, x: np.ndarray) -> np.ndarray:
        return x

    def reading(self, x: np.ndarray) -> np.ndarray:
        return np.ones((len(x), 1, 1))


MAPS: dict[str, type[Henon] | type[Logistic]] = {"henon": Henon, "logistic": Logistic}


@dataclass(frozen=True)
class ChaoticMap(Task):
    """x_t (T, 1) is the last value of `map`, y_t the next one; both are observed with noise.

    A step counts once the values so far, two for the Henon map, tell the state. Without noise the floor is 0.
    With noise it is not known: more than the noise's variance, since the state is never certain.
    """

    map: str = "henon"
    steps: int = 60
    count: int = 1600
    noise: float = 0.0

    def __post_init__(self) -> None:
        if self.map not in MAPS:
            raise ValueError(f"chaotic_map has map={self.map}; it must be one of {', '.join(MAPS)}")
        if self.steps < 2 or self.count < 1 or not 0 <= self.noise < np.inf:
            raise ValueError(
                f"chaotic_map has steps={self.steps}, count={self.count}, noise={self.noise}; steps >= 2,"
                " count >= 1, noise >= 0"
            )

    @property
    def system(self) -> Henon | Logistic:
        return MAPS[self.map]()

    def data(self, rng: np.random.Generator) -> Data:
        train, test = self.draw(rng, self.count), self.draw(rng, DRAWN)
        return systems.data_of(train, test, self.noise**2, floor_known=self.noise == 0)

    def draw(self, rng: np.random.Generator, count: int) -> Sequences:
        path = systems.run(self.system, self.settled(rng, count), np.zeros((self.steps, count, 1)))
        return systems.next_value(path[..., :1], self.noise, rng, self.system.delays)

    def settled(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """(count, n): states on the attractor."""
        return systems.run(self.system, self.system.start(rng, count), np.zeros((SETTLING, count, 1)))[-1]

    def truth(self, data: Data) -> Truth:
        start = self.settled(np.random.default_rng(0), TRAJECTORIES)
        still, long = (np.zeros((n, TRAJECTORIES, 1)) for n in (self.steps - self.steps // 2, systems.LONG))
        return systems.truth(self.system, start, still, long, autonomous=True)
