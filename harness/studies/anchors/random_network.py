"""The random tanh network x' = J tanh(x) + noise, the standard model of chaos in recurrent networks.

It runs as h = tanh(x), that is h' = tanh(J h + noise), an Elman cell: the same exponents, for h and x are one
another's smooth functions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from cellbench import cells

from ...gradients import lag_profile, lyapunov_spectrum
from . import mean_field
from .anchor import Anchor, Arrays, within

CELL = cells.get("elman", biases=0)
# of the largest exponent without noise, by gain, times N: published measured minus mean field (of N = 400 and
# 1600), and the standard deviation between networks (over 16 of N = 200 and 8 of N = 400, other seeds)
BIAS = {1.5: (-5.3, -3.4), 2.0: (-3.0, -2.0), 3.0: (-3.0, -2.0), 5.0: (-4.9, -4.6), 10.0: (-14.0, -9.0)}
SPREAD = {1.5: 4.0, 2.0: 2.7, 3.0: 0.9, 5.0: 1.0, 10.0: 1.3}
PUBLISHED = {1.5: 0.06522, 2.0: 0.15472, 3.0: 0.31025, 5.0: 0.53243, 10.0: 0.85644}  # mean field
CRITICAL = {1.1: 0.001352, 1.2: 0.011077, 1.5: 0.186144, 2.0: 1.635957, 3.0: 15.0807}
DRIVEN = {(0.9, 0.25): -0.3545, (1.5, 0.6): -0.0861, (2.0, 1.0): 0.0460, (3.0, 1.0): 0.2685}
CLARK_LARGEST = {1.5: 0.06495, 2.0: 0.15425}
# one network of N = 4096 (Clark, rnn-lyapunov): mean exponent, then per unit entropy rate, Kaplan-Yorke
# dimension, share > 0
CLARK = {1.5: (-0.71530, 0.002773, 0.16511, 0.0840), 2.0: (-1.15055, 0.010608, 0.25659, 0.1326)}
# measured minus the above (for the mean: minus mean field), times N, of the median network at N = 200: about
# 2.5 standard deviations around the mean of 8 others
WHOLE_BIAS = {
    1.5: ((-17.0, 11.0), (-0.4, 0.2), (-13.0, 7.0), (-6.5, 3.5)),
    2.0: ((-12.0, 12.0), (-0.4, 0.2), (-5.0, 2.5), (-2.5, 1.5)),
}


def network(size: int, gain: float, seed: int, noise: float = 0.0) -> Arrays:
    """Parameters; with noise the input has one channel a unit, of variance 1, else one that is not used."""
    rng = np.random.default_rng(seed)
    weight = rng.standard_normal((size, size)) * gain / math.sqrt(size)
    return {
        "weight_ih": math.sqrt(noise) * np.eye(size) if noise else np.zeros((size, 1)),
        "weight_hh": weight,
    }


def spectrum(size: int, gain: float, seed: int, steps: int, k: int | None = 1, transient: int = 200) -> Any:
    """`lyapunov_spectrum` of the network left to itself, from a random state."""
    start = {"h": np.tanh(np.random.default_rng([seed, 1]).standard_normal((1, size)))}
    x = np.zeros((steps + transient, 1, 1))
    return lyapunov_spectrum(CELL, network(size, gain, seed), x, state=start, k=k, transient=transient)


def largest_exponent(size: int, gain: float, networks: int, steps: int) -> np.ndarray:
    """(networks,): of different J."""
    return np.array([spectrum(size, gain, seed, steps).exponents[0] for seed in range(networks)])


def largest_exponents(size: int, networks: int, gain: float, steps: int = 2000) -> Iterator[Anchor]:
    """Chaos at one gain, as the mean over networks."""
    expected = mean_field.largest_exponent(gain)
    measured = largest_exponent(size, gain, networks, steps).mean()
    low, high = (b / size for b in BIAS[gain])
    slack = 4 * SPREAD[gain] / size / math.sqrt(networks) + 0.001
    note = (
        f"bias {BIAS[gain][0]:g}/N to {BIAS[gain][1]:g}/N; {networks} networks, four deviations of"
        f" {SPREAD[gain]:g}/N"
    )
    if gain in CLARK_LARGEST:
        note += f"; Clark at N=4096: {CLARK_LARGEST[gain]}"
    yield Anchor(
        f"random tanh network g={gain:g}, N={size}, largest exponent",
        PUBLISHED[gain],
        expected,
        float(measured),
        within(expected, slack, (low, high)),
        note,
    )


def mean_field_figures() -> Iterator[Anchor]:
    """Quadrature against the published digits: both are of infinitely many units."""
    note = "no run: quadrature against the published digits"
    for gain, published in PUBLISHED.items():
        exponent = mean_field.largest_exponent(gain)
        yield Anchor(
            f"mean field g={gain:g}, largest exponent",
            published,
            None,
            exponent,
            within(published, 1.1e-5),
            note,
        )
    for gain, published in CRITICAL.items():
        noise, places = mean_field.critical_noise(gain), 1e-4 if gain == 3 else 1.1e-6
        yield Anchor(
            f"mean field g={gain:g}, noise that ends chaos",
            published,
            None,
            noise,
            within(published, places),
            note,
        )


def whole_spectra(size: int = 200, networks: int = 5, steps: int = 600) -> Iterator[Anchor]:
    """All exponents, and what follows from them.

    The median network, for at N = 200 they differ much, and with long tails: where a pair of J's eigenvalues
    lies far outside the circle, the network turns with it and is less chaotic (seed 3).
    """
    for gain, (mean, entropy, dimension, share) in CLARK.items():
        spectra = [spectrum(size, gain, seed, steps, k=None) for seed in range(networks)]
        name, bias = f"random tanh network g={gain:g}, N={size}", WHOLE_BIAS[gain]
        for what, published, computed, values, k in (
            ("mean exponent", mean, mean_field.mean_exponent(gain), [s.exponents.mean() for s in spectra], 0),
            ("entropy rate / N", entropy, None, [s.entropy_rate / size for s in spectra], 1),
            ("Kaplan-Yorke dimension / N", dimension, None, [s.kaplan_yorke / size for s in spectra], 2),
            ("share of exponents > 0", share, None, [np.mean(s.exponents > 0) for s in spectra], 3),
        ):
            low, high = (b / size for b in bias[k])
            note = (
                f"published at N=4096; bias {bias[k][0]:g}/N to {bias[k][1]:g}/N; median of {networks}"
                " networks"
            )
            allowed = within(published if computed is None else computed, 0.0, (low, high))
            yield Anchor(f"{name}, {what}", published, computed, float(np.median(values)), allowed, note)
        residual = max(abs(s.sum_residual) for s in spectra)
        yield Anchor(
            f"{name}, sum rule", 2e-13, 0.0, residual, (0.0, 1e-10), "rounding alone, largest of all networks"
        )


def below_chaos(size: int = 200, gain: float = 0.9) -> Iterator[Anchor]:
    """The origin is stable: exponents are the logs of J's eigenvalues.

    The share of them below s is e^2s / g^2 (circular law).
    """
    exponents = spectrum(size, gain, 0, 600, k=None).exponents
    modulus = np.max(np.abs(np.linalg.eigvals(network(size, gain, 0)["weight_hh"])))
    name = f"random tanh network g={gain:g}, N={size}"
    note = (
        "published for N to infinity, computed from this J's eigenvalues; a complex pair turns, and 600 steps"
        " leave 0.005 of it"
    )
    exact = math.log(modulus)
    allowed = within(exact, 0.005)
    yield Anchor(f"{name}, largest exponent", math.log(gain), exact, exponents[0], allowed, note)
    law = np.minimum(np.exp(2 * exponents) / gain**2, 1.0)
    apart = np.max(np.abs(law - (1 - (np.arange(size) + 0.5) / size)))
    note = (
        f"largest distance of distribution functions; of order 1/sqrt(N) = {1 / math.sqrt(size):.2f}, above 0"
        " always"
    )
    yield Anchor(f"{name}, distance from the circular law", 0.0, 0.0, apart, (0.0, 1 / math.sqrt(size)), note)


def noise_against_chaos(size: int = 800, steps: int = 1000) -> Iterator[Anchor]:
    """Independent noise at every unit lowers the rate of the adjoint; above a critical variance it decays."""
    for (gain, noise), published in DRIVEN.items():
        expected = mean_field.largest_exponent(gain, noise)
        x = np.random.default_rng(0).standard_normal((steps, 1, size))
        rate = lag_profile(CELL, network(size, gain, 0, noise), x).rate
        note = f"bias 0 to -4/N; the mean over {steps // 2} lags has a deviation of 0.0025, three allowed"
        yield Anchor(
            f"driven tanh network g={gain:g}, noise {noise:g}, N={size}, growth of the adjoint",
            published,
            expected,
            rate.value,
            within(expected, 0.0075, (-4 / size, 0.0)),
            note,
        )
