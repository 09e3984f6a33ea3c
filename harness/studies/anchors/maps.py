"""Maps whose exponents are known, run as cells: Henon's, the logistic map, and a product of independent
random matrices.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from scipy.special import polygamma

from cellbench.cells import GatedCell, State

from ...gradients import clip_by_value, lyapunov_spectrum
from . import mean_field
from .anchor import Anchor, within


class Henon(GatedCell):
    """x' = 1 - a x^2 + y, y' = b x (Henon 1976); the input is not used."""

    gates = ("u",)
    states = ("x", "y")
    recurrent_gates = ()
    biases: int = 0
    a: float = 1.4
    b: float = 0.3

    def equations(self, wx, wh, prev):
        return State(x=1 - self.a * prev.x * prev.x + prev.y + wx.u, y=self.b * prev.x)


class Logistic(GatedCell):
    """x' = r x (1 - x)."""

    gates = ("u",)
    states = ("x",)
    recurrent_gates = ()
    biases: int = 0
    r: float = 4.0

    def equations(self, wx, wh, prev):
        return State(x=self.r * prev.x * (1 - prev.x) + wx.u)


class Product(GatedCell):
    """h' = M_t h, where x_t (N * N,) is the matrix M_t row by row."""

    gates = ("u",)
    states = ("h",)
    recurrent_gates = ()
    biases: int = 0

    def step(self, params, x, state):
        rows = x.reshape(x.shape[0], -1, state.h.shape[1])
        h = (rows @ state.h.reshape(*state.h.shape, 1)).reshape(*state.h.shape)
        return h, State(h=h)


def chaotic_maps(steps: int = 100_000) -> Iterator[Anchor]:
    """Two classics of one and two dimensions."""
    start = {"x": np.full((1, 1), 0.3), "y": np.zeros((1, 1))}
    x, params = np.zeros((steps, 1, 1)), {"weight_ih": np.zeros((1, 1))}
    note = f"averages over {steps:,} steps have a standard deviation of 0.001; four allowed"
    found = lyapunov_spectrum(Henon(), params, x, state=start).exponents
    yield Anchor("Henon map, largest exponent", 0.4192, None, found[0], within(0.4192, 0.004), note)
    yield Anchor("Henon map, smallest exponent", -1.6232, None, found[1], within(-1.6232, 0.004), note)
    total = math.log(0.3)
    yield Anchor(
        "Henon map, sum of exponents", -1.2040, total, sum(found), within(total, 1e-10), "exact at any length"
    )
    found = lyapunov_spectrum(Logistic(), params, x, state={"x": start["x"]}).exponents
    note = f"{steps:,} steps: standard deviation 0.0001"
    yield Anchor(
        "logistic map r=4, exponent", math.log(2), math.log(2), found[0], within(math.log(2), 4e-4), note
    )


def random_products(size: int = 10, steps: int = 20_000) -> Iterator[Anchor]:
    """Newman's exponents for a finite size, so that only the length of the run is left; each step's growth is
    a chi variable.
    """
    x = np.random.default_rng(0).standard_normal((steps + 200, 1, size * size)) / math.sqrt(size)
    found = lyapunov_spectrum(Product(), {"weight_ih": np.zeros((size, size * size))}, x)
    expected = mean_field.ginibre_exponents(size)
    errors = np.sqrt(polygamma(1, (size - np.arange(size)) / 2) / 4 / steps)
    note = f"exact for N = {size}; four standard deviations of {steps:,} steps"
    name = f"product of random {size} x {size} matrices"
    for which, published, i in (("largest", -0.0517, 0), ("smallest", -1.7865, size - 1)):
        allowed = within(expected[i], 4 * errors[i])
        yield Anchor(f"{name}, {which} exponent", published, expected[i], found.exponents[i], allowed, note)
    spread = 4 * math.sqrt(np.sum(errors**2)) / size
    mean = found.exponents.mean()
    yield Anchor(f"{name}, mean exponent", None, expected.mean(), mean, within(expected.mean(), spread), note)
    residual = found.sum_residual
    assert residual is not None  # all exponents were asked for, and no matrix is singular
    yield Anchor(f"{name}, sum rule", 0.0, 0.0, residual, within(0.0, 1e-9), "rounding alone")


def clipped_descent(chains: int = 4000, updates: int = 3000) -> Iterator[Anchor]:
    """SGD on x^2 / 2, gradient noise +4 (p 0.2) or -1 (p 0.8), clip 1: the noise has mean 0, what is left of
    it has not.
    """
    rng, x, total = np.random.default_rng(0), np.zeros(chains), 0.0
    for k in range(updates):
        gradient = x + np.where(rng.random(chains) < 0.2, 4.0, -1.0)
        x = x - 0.1 * clip_by_value([gradient], 1.0).arrays[0]
        total += x.mean() * (k >= updates // 2)
    note = f"{chains:,} chains, the second half of {updates:,} updates: standard deviation 0.0002"
    yield Anchor(
        "clipped SGD's limit where 0 is right",
        0.75,
        0.75,
        total / (updates - updates // 2),
        within(0.75, 0.001),
        note,
    )
