"""One number for a decay, where there is one: the growth of a log norm by lag, its interval and its form.

Log norms are a random walk, so that a line through them has a wrong interval (nominal 95 % covers 12 % at 100
lags); everything here works on increments. A form is accepted only where its residuals have the same mean in
both halves of the window.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cellbench.cells.display import Displayed

DEGREES = range(1, 9)  # of a polynomial: one less than the size of a Jordan block
FEW = 8  # increments, in fewer of which no form can be told
EXPLAINED = 0.98  # share of the squares of increments that a curve must take away to count as the form
MARGIN = 0.01  # nats a step within which a gradient counts as stable


@dataclass(frozen=True, repr=False)
class Rate(Displayed):
    """Growth of the log norm with a 95 % interval, in nats a step (negative: decay).

    By `model` it is
      exponential                the rate
      polynomial x exponential   the exponential's rate
      power law                  the exponent of the lag
      finite                     -inf: exactly 0 from some lag on
      no single rate             the mean increment, for want of better
    """

    value: float
    low: float
    high: float
    model: str = "exponential"


def fit(logs: np.ndarray) -> Rate:
    """The rate of log norms (T + 1, B) over the middle half of the lags.

    The first quarter is left out (the adjoint turns towards the growing direction), and the last (the state
    still feels its start). The simplest form that fits is taken; of fewer than 8 increments, only what hardly
    varies counts as exponential.
    """
    lags = len(logs) - 1
    if np.isneginf(logs[-1]).all():
        return Rate(-np.inf, -np.inf, -np.inf, "finite")
    first, last = lags // 4, max(lags - lags // 4, lags // 4 + 1)
    window = logs[first : last + 1]
    with np.errstate(invalid="ignore"):  # of -inf
        steps = np.diff(window, axis=0).mean(1)
    if not np.isfinite(steps).all():
        return Rate(np.nan, np.nan, np.nan, "no single rate")
    mean, error = _mean(steps)
    if _steady(steps - mean, abs(mean)):
        return Rate(mean, mean - 1.96 * error, mean + 1.96 * error)
    refused = Rate(mean, mean - 1.96 * error, mean + 1.96 * error, "no single rate")
    with np.errstate(invalid="ignore"):
        curved = np.diff(logs[first:], axis=0).mean(1)  # to the last lag: a long curve shows its form better
    if len(steps) < FEW or not np.isfinite(curved).all():
        return refused
    lag = np.arange(first, lags, dtype=float)
    power, residual, _ = _best(curved, lag, with_rate=False)
    if _explained(residual, curved) > EXPLAINED:
        # an exponent counts per nat of the lag, a rate per step
        return _interval(power, residual, "power law", len(curved) / np.log((lags + 1) / (first + 1)))
    value, residual, degree = _best(curved, lag, with_rate=True)
    if degree in DEGREES and _explained(residual, curved - curved.mean()) > EXPLAINED:
        return _interval(value, residual, "polynomial x exponential")
    return refused


def _mean(steps: np.ndarray) -> tuple[float, float]:
    """Mean and standard error; smoothly weighted ones where these vary less by block.

    They do for a rotation, whose increments swing and are no noise.
    """
    blocks = np.array_split(steps, 4)
    if len(blocks[-1]) >= 6:
        plain, smooth = (
            np.array([np.average(b, weights=w(len(b))) for b in blocks]) for w in (np.ones, _bump)
        )
        if smooth.std() < 0.3 * plain.std():
            return float(np.average(steps, weights=_bump(len(steps)))), float(smooth.std() / np.sqrt(3))
    return float(steps.mean()), standard_error(steps)


def _bump(count: int) -> np.ndarray:
    """Weights that go to 0 at both ends with all derivatives, so that a swing averages out fast."""
    t = (np.arange(count) + 0.5) / count
    return np.exp(-1 / (t * (1 - t)))


def _steady(residual: np.ndarray, scale: float) -> bool:
    """Whether both halves have the same mean, by 3 standard errors or three thousandths of the scale."""
    if len(residual) < FEW:  # too few to tell a trend from noise
        return bool(np.abs(residual).max() <= 3e-3 * scale + 1e-12)
    halves = np.array_split(residual, 2)
    apart = abs(halves[0].mean() - halves[1].mean())
    return bool(
        apart <= 3 * np.hypot(standard_error(halves[0]), standard_error(halves[1]))
        or apart <= 3e-3 * scale + 1e-12
    )


def _explained(residual: np.ndarray, before: np.ndarray) -> float:
    """The share of the squares that a fit took away."""
    return 1 - float(np.sum(residual**2) / np.sum(before**2))


def _best(steps: np.ndarray, lag: np.ndarray, with_rate: bool) -> tuple[float, np.ndarray, float]:
    """(rate or exponent, residuals, degree), least squares.

    steps = rate + exponent * ln((lag + shift + 1) / (lag + shift)). A polynomial's degree is a whole number:
    an exponent near one is taken as it, and the rest is fitted again.
    """

    def solve(shift: float, degree: float | None = None) -> tuple[float, float, np.ndarray]:
        trend = np.log1p(1 / (lag + shift))
        if not with_rate:
            exponent = float(trend @ steps / (trend @ trend))
            return exponent, exponent, steps - exponent * trend
        if degree is None:
            centred = trend - trend.mean()
            degree = float(centred @ steps / (centred @ centred))
        rate = float((steps - degree * trend).mean())
        return rate, degree, steps - rate - degree * trend

    shifts = np.linspace(0.05, 3.0, 60)
    shift = min(shifts, key=lambda c: float(np.sum(solve(c)[2] ** 2)))
    value, degree, residual = solve(shift)
    nearest = round(degree)
    if with_rate and nearest in DEGREES and abs(degree - nearest) < 0.25:
        finer = min(np.linspace(0.05, 3.0, 600), key=lambda c: float(np.sum(solve(c, nearest)[2] ** 2)))
        value, degree, residual = solve(finer, nearest)
    return value, residual, degree


def _interval(value: float, residual: np.ndarray, model: str, per: float = 1.0) -> Rate:
    half = 1.96 * standard_error(residual) * per
    return Rate(float(value), float(value - half), float(value + half), model)


def standard_error(values: np.ndarray) -> float:
    """The error of a correlated series' mean (Newey and West 1987, Bartlett weights); inf below 4 values."""
    count = len(values)
    if count < 4:
        return float("inf")
    centred = values - values.mean()
    width = int(4 * (count / 100) ** (2 / 9)) + 1
    covariance = [float(centred[k:] @ centred[: count - k]) / count for k in range(min(width + 1, count))]
    variance = covariance[0] + 2 * sum((1 - k / (width + 1)) * c for k, c in enumerate(covariance) if k)
    return float(np.sqrt(max(variance, 0.0) / count))


def word(low: float, high: float) -> str:
    """vanishes or explodes where the interval lies wholly beyond 0.01 nats a step, else stable."""
    if high < -MARGIN:
        return "vanishes"
    return "explodes" if low > MARGIN else "stable"
