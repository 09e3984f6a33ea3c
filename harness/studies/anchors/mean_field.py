"""Mean-field theory of large random networks, by quadrature: what a run of N units approaches as N grows.

For x' = J tanh(x) + noise with J_ij ~ N(0, g^2 / N) a unit's x is Gaussian of a variance d that reproduces
itself, d = g^2 E tanh^2(x) + noise, and is independent from step to step. With phi' = sech^2(x) the largest
Lyapunov exponent is ln(g sqrt(E phi'^2)) (Molgedey et al. 1992) and the mean of all ln g - 1/2 + E ln phi'
(log |det J| of a Gaussian matrix).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.optimize import brentq
from scipy.special import digamma, expit

# the trapezoid rule on a Gaussian converges exponentially in 1 / spacing, and its weights serve every f;
# Gauss-Hermite nodes lie too far apart for sech^2(sqrt(d) z) at d = 90 (gain 10): 201 of them give 1.09 in
# place of 0.856
NODES = np.linspace(-12, 12, 4801)
WEIGHTS = np.exp(-(NODES**2) / 2)
WEIGHTS /= WEIGHTS.sum()


def mean(f: Callable[[np.ndarray], np.ndarray], variance: float = 1.0) -> float:
    """E f(x), x ~ N(0, variance)."""
    return float(WEIGHTS @ f(math.sqrt(variance) * NODES))


def log_slope(x: np.ndarray) -> np.ndarray:
    """ln sech^2(x), which does not underflow."""
    return 2 * (math.log(2) - np.logaddexp(x, -x))


def slope(x: np.ndarray) -> np.ndarray:
    """sech^2(x), the slope of tanh."""
    return np.exp(log_slope(x))


def variance(gain: float, noise: float = 0.0) -> float:
    """The stationary variance of x; 0 where the origin is stable and there is no noise."""
    if noise == 0 and gain <= 1:
        return 0.0
    return float(
        brentq(lambda d: gain**2 * mean(lambda x: np.tanh(x) ** 2, d) + noise - d, 1e-9, gain**2 + noise + 1)
    )


def largest_exponent(gain: float, noise: float = 0.0) -> float:
    """In nats a step; also the rate at which an adjoint grows."""
    return 0.5 * math.log(gain**2 * mean(lambda x: slope(x) ** 2, variance(gain, noise)))


def mean_exponent(gain: float) -> float:
    """The mean of all exponents, without noise."""
    return math.log(gain) - 0.5 + mean(log_slope, variance(gain))


def critical_noise(gain: float) -> float:
    """The variance of the noise at which the largest exponent of a chaotic network (gain > 1) is 0."""
    return float(brentq(lambda noise: largest_exponent(gain, noise), 1e-9, 10 * gain**2))


def gru_growth(bias: float, scale: float = 1.0, inputs: float = 1.0) -> float:
    """Mean squared singular value of a GRU's one-step Jacobian, |J|_F^2 / N, where N is large.

    Recurrent matrices are N(0, scale^2 / N), each gate's input N(0, inputs), the update gate's bias is `bias`
    (z keeps), the others' 0. The variance of h closes with E[n h] = 0, which leaves out that W h turns slowly
    where z is near 1 (the figure is low by less than 1 %).
    """
    q = float(brentq(lambda q: _gru(bias, scale, inputs, q)[0], 0.0, 1.0))
    return _gru(bias, scale, inputs, q)[1]


def _gru(bias: float, scale: float, inputs: float, q: float) -> tuple[float, float]:
    """(growth of E h^2 = q in a step, |J|_F^2 / N). Gates are smooth, so that a tenth of the nodes serves."""
    nodes, weights = NODES[::10], WEIGHTS[::10] / WEIGHTS[::10].sum()
    back = scale**2 * q  # variance of a recurrent product
    z = expit(math.sqrt(inputs + back) * nodes + bias)
    r = expit(math.sqrt(inputs + back) * nodes)
    total = inputs + r**2 * back  # variance of n's argument y, given r
    y = np.sqrt(total)[:, None] * nodes
    # E (W_n h)^2, given r and y
    product = back * (1 - r**2 * back / total)[:, None] + (y * (r * back / total)[:, None]) ** 2
    n2 = float(weights @ (np.tanh(y) ** 2 @ weights))
    open2, keep2, turn2 = (float(weights @ f) for f in ((1 - z) ** 2, z**2, (z * (1 - z)) ** 2))
    through_n = float((weights * r**2) @ (slope(y) ** 2 @ weights))
    through_r = float((weights * (r * (1 - r)) ** 2) @ ((slope(y) ** 2 * product) @ weights))
    square = keep2 + scale**2 * (open2 * (through_n + through_r) + turn2 * (n2 + q))
    return open2 * n2 + keep2 * q - q, square


def ginibre_exponents(size: int, gain: float = 1.0) -> np.ndarray:
    """All exponents of a product of independent matrices of entries N(0, gain^2 / size), largest first.

    Newman 1986.
    """
    freedom = size - np.arange(size)
    return math.log(gain) + (math.log(2) + digamma(freedom / 2) - math.log(size)) / 2
