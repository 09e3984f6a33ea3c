"""Maps whose exponents are known, run as cells: Henon's, the logistic, a product of random matrices."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.special import polygamma

from cellbench.cells import GatedCell, State

from ...gradients import clip_by_value, lyapunov_spectrum
from ...tasks import chaotic_map
from . import mean_field
from .anchor import Anchor, Arrays, within


class HenonCell(GatedCell):
    """The Henon map of the task chaotic_map: the states are y_t and y_{t-1}; the input is not used."""

    gates = ("u",)
    states = ("now", "before")
    recurrent_gates = ()
    biases: int = 0

    def equations(self, wx: State, wh: State, prev: State, *unit: State) -> State:
        now, before = stepped(chaotic_map.Henon(), [prev.now, prev.before], wx.u)
        return State(now=now, before=before)


class LogisticCell(GatedCell):
    """The logistic map of the task chaotic_map; the input is not used."""

    gates = ("u",)
    states = ("now",)
    recurrent_gates = ()
    biases: int = 0

    def equations(self, wx: State, wh: State, prev: State, *unit: State) -> State:
        (now,) = stepped(chaotic_map.Logistic(), [prev.now], wx.u)
        return State(now=now)


def stepped(system: Any, state: list[Any], u: Any) -> list[Any]:
    """The task's own step, which takes arrays (B, n), on the values of a cell's equations.

    They may be scalars to be recorded, which NumPy takes as entries of an array of objects alone.
    """
    x, row = np.empty((1, len(state)), object), np.empty((1, 1), object)
    for k, value in enumerate(state):
        x[0, k] = value
    row[0, 0] = u
    return list(system.step(x, row)[0])


class Product(GatedCell):
    """h' = M_t h, where x_t (N * N,) is the matrix M_t row by row."""

    gates = ("u",)
    states = ("h",)
    recurrent_gates = ()
    biases: int = 0

    def step(self, params: Arrays, x: Any, state: State) -> tuple[Any, State]:
        rows = x.reshape(x.shape[0], -1, state.h.shape[1])
        h = (rows @ state.h.reshape(*state.h.shape, 1)).reshape(*state.h.shape)
        return h, State(h=h)


def chaotic_maps(steps: int = 100_000) -> Iterator[Anchor]:
    """Two classics of one and two dimensions."""
    start = {"now": np.full((1, 1), 0.3), "before": np.zeros((1, 1))}
    x, params = np.zeros((steps, 1, 1)), {"weight_ih": np.zeros((1, 1))}
    note = f"averages over {steps:,} steps have a standard deviation of 0.001; four allowed"
    first, second = lyapunov_spectrum(HenonCell(), params, x, state=start).exponents
    yield Anchor("Henon map, largest exponent", 0.4192, None, first, within(0.4192, 0.004), note)
    yield Anchor("Henon map, smallest exponent", -1.6232, None, second, within(-1.6232, 0.004), note)
    total = math.log(0.3)
    yield Anchor(
        "Henon map, sum of exponents",
        -1.2040,
        total,
        first + second,
        within(total, 1e-10),
        "exact at any length",
    )
    (exponent,) = lyapunov_spectrum(LogisticCell(), params, x, state={"now": start["now"]}).exponents
    note = f"{steps:,} steps: standard deviation 0.0001"
    yield Anchor(
        "logistic map r=4, exponent", math.log(2), math.log(2), exponent, within(math.log(2), 4e-4), note
    )


def random_products(size: int = 10, steps: int = 20_000) -> Iterator[Anchor]:
    """Newman's exponents are exact at a finite size, so that only the run's length matters.

    Each step's growth is a chi variable.
    """
    x = np.random.default_rng(0).standard_normal((steps + 200, 1, size * size)) / math.sqrt(size)
    spectrum = lyapunov_spectrum(Product(), {"weight_ih": np.zeros((size, size * size))}, x)
    expected = mean_field.ginibre_exponents(size)
    errors = np.sqrt(polygamma(1, (size - np.arange(size)) / 2) / 4 / steps)
    note = f"exact for N = {size}; four standard deviations of {steps:,} steps"
    name = f"product of random {size} x {size} matrices"
    for which, published, i in (("largest", -0.0517, 0), ("smallest", -1.7865, size - 1)):
        allowed = within(expected[i], 4 * errors[i])
        yield Anchor(
            f"{name}, {which} exponent", published, expected[i], spectrum.exponents[i], allowed, note
        )
    spread = 4 * math.sqrt(np.sum(errors**2)) / size
    mean = spectrum.exponents.mean()
    yield Anchor(f"{name}, mean exponent", None, expected.mean(), mean, within(expected.mean(), spread), note)
    residual = spectrum.sum_residual
    assert residual is not None  # all exponents were asked for, and no matrix is singular
    yield Anchor(f"{name}, sum rule", 0.0, 0.0, residual, within(0.0, 1e-9), "rounding alone")


def clipped_descent(chains: int = 4000, updates: int = 3000) -> Iterator[Anchor]:
    """SGD on x^2 / 2, gradient noise +4 (p 0.2) or -1 (p 0.8), clip 1.

    The noise has mean 0, and clipped noise has not.
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
