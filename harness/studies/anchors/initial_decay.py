"""Decay of a gradient in untrained networks: default initialisations, a ring of modes, a GRU by its bias."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from cellbench import cells

from ...gradients import jacobian_product, lag_profile, lyapunov_spectrum
from . import mean_field
from .anchor import Anchor, Arrays, within

# of H = 800, and of H to infinity: the top of the Jacobian at the origin, where weights are uniform in
# +-1/sqrt(H)
DEFAULTS = {
    "elman": (0.592, 1 / math.sqrt(3)),
    "gru": (0.645, 1 / 2 + 1 / (4 * math.sqrt(3))),
    "lstm": (0.645, 1 / 2 + 1 / (4 * math.sqrt(3))),
}
GRU = {-2: (0.1617, -0.826), 0: (0.3640, -0.409), 2: (0.7404, -0.114), 4: (0.9465, -0.020)}


def default_rates(size: int = 800, steps: int = 300) -> Iterator[Anchor]:
    """exp of the largest exponent with no bias and no input: the share of a gradient kept by each step."""
    for name, (published, limit) in DEFAULTS.items():
        cell = cells.get(name, biases=0)
        spectrum = lyapunov_spectrum(cell, cell.init(1, size, 0), np.zeros((steps + 200, 1, 1)), k=1)
        radius = math.sqrt((math.log(size / (2 * math.pi)) - 2 * math.log(math.log(size))) / (4 * size))
        over = limit * radius if name == "elman" else 0.25 / math.sqrt(3) * radius
        note = (
            f"a matrix of {size} has eigenvalues up to about {radius:.1%} beyond its circle (Rider 2003), and"
            " as much spread"
        )
        yield Anchor(
            f"{name} as torch.nn draws it, H={size}, kept a step",
            published,
            limit,
            math.exp(spectrum.exponents[0]),
            (limit - over, limit + 3 * over),
            note,
        )


def ring_of_modes(
    units: int = 4096, lag: int = 100, low: float = 0.9, high: float = 0.999
) -> Iterator[Anchor]:
    """Mean of |lambda|^2k over an LRU's modes, which is |M_k|_F^2 a number of the state."""
    cell = cells.get("lru")
    products = jacobian_product(
        cell, cell.init(1, units, 0, f"ring({low}, {high})"), np.zeros((lag, 1, 1)), [lag]
    )
    measured = float(np.exp(2 * products.log_frobenius[0, 0])) / (2 * units)

    def moment(k: int) -> float:
        return (high ** (2 * k + 2) - low ** (2 * k + 2)) / ((k + 1) * (high**2 - low**2))

    error = math.sqrt((moment(2 * lag) - moment(lag) ** 2) / units)
    note = f"{units} modes drawn: standard deviation {error:.4f}, four allowed"
    name = f"LRU ring [{low:g}, {high:g}], mean |λ|^{2 * lag}"
    yield Anchor(name, 0.0430276, moment(lag), measured, within(moment(lag), 4 * error), note)


def gru_network(size: int, bias: float, seed: int) -> Arrays:
    """Recurrent entries N(0, 1/H), the update gate's bias, and an input channel for each gate and unit."""
    weight = np.random.default_rng(seed).standard_normal((3 * size, size)) / math.sqrt(size)
    return {"weight_ih": np.eye(3 * size), "weight_hh": weight, "bias_ih": np.repeat([0.0, bias, 0.0], size)}


def gru_singular_values(size: int = 600, samples: int = 8) -> Iterator[Anchor]:
    """|J|_F^2 / H of one step after the state has settled."""
    cell = cells.get("gru", biases=1)
    for bias, (published, _) in GRU.items():
        steps = 250 if bias == 4 else 60  # a state that is kept longer settles later
        x = np.random.default_rng(1).standard_normal((steps, samples, 3 * size))
        products = jacobian_product(cell, gru_network(size, bias, 0), x, [1])
        measured = float(np.mean(np.exp(2 * products.log_frobenius[0])) / size)
        expected = mean_field.gru_growth(bias)
        note = (
            f"quadrature without slow turning is low by up to 1 %; {samples} inputs of one network: 1 % more"
            " on both sides"
        )
        yield Anchor(
            f"GRU b_z={bias}, N={size}, mean squared singular value",
            published,
            expected,
            measured,
            within(expected, 0.01 * expected, (0.0, 0.01 * expected)),
            note,
        )


def gru_growth(size: int = 600, steps: int = 1500) -> Iterator[Anchor]:
    """Over many steps the adjoint decays slower than the singular values of one step would have it."""
    cell = cells.get("gru", biases=1)
    for bias, (_, published) in GRU.items():
        x = np.random.default_rng(1).standard_normal((steps, 1, 3 * size))
        rate = lag_profile(cell, gru_network(size, bias, 0), x).rate.value
        note = (
            f"published of one network of this size; another differs by 2 %, and the mean over {steps // 2}"
            " lags by 0.002"
        )
        allowed = within(published, 0.02 * abs(published) + 0.002)
        yield Anchor(f"GRU b_z={bias}, N={size}, growth of the adjoint", published, None, rate, allowed, note)
