"""How the gradient of one loss term at the last step grows or decays over lags, in a form that cannot over- or underflow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cells import GatedCell
from cells.backends.numpy import NumpyBackend

MARGIN = 0.01  # nats a step within which a gradient counts as stable


@dataclass(frozen=True)
class Rate:
    """Growth of the log norm in nats a step (negative: decay) with a 95 % interval."""

    value: float
    low: float
    high: float


def log_norms(cell: GatedCell, params: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """(T + 1, B): natural log of the norm of dL/d(joint state) by lag 0..T, for L = sum of the last output, each sample apart.

    The adjoint runs in float64 with derivatives of the pre-activations and is scaled to norm 1 at every step, its log kept
    apart. x is (T, B, I); the first state is zero. A step's own factor below 1e-308 (|a| > 372) counts as 0.
    """
    steps, batch, _ = x.shape
    program = NumpyBackend().program(cell, params, steps, batch, "float64", "cpu", "backward", unsaturated=True)
    program.start(x)
    d_y = np.zeros((steps, batch, program.output_size))
    d_y[-1] = 1
    outputs = [d[-1] for d in program.pull_outputs(d_y)[0]]
    silent = [np.zeros_like(d) for d in outputs]
    d_state = tuple(np.zeros_like(v) for v in program.last.values())
    d_state = program.with_outputs(steps - 1, outputs, d_state)
    logs, log_scale = np.empty((steps + 1, batch)), np.zeros(batch)
    for lag in range(steps + 1):
        norm = _norm(d_state)
        with np.errstate(divide="ignore"):
            logs[lag] = log_scale + np.log(norm)
        if lag == steps:
            break
        # what the output at lag 0 gives past the state must keep its proportion, so that is not scaled
        scale = np.where((norm > 0) & (lag > 0), norm, 1.0)
        log_scale += np.log(scale)
        units = [d / scale.reshape(-1, *[1] * (d.ndim - 1)) for d in d_state]
        d_state, _ = program.pull_step(steps - 1 - lag, silent if lag else outputs, units)
    return logs


def _norm(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """(B,): norm over all arrays of each sample, scaled by the largest entry, so that no square under- or overflows."""
    rows = np.concatenate([a.reshape(len(a), -1) for a in arrays], axis=1)
    largest = np.abs(rows).max(1)
    scale = np.where((largest > 0) & np.isfinite(largest), largest, 1.0)
    return scale * np.sqrt(((rows / scale[:, None]) ** 2).sum(1))


def rate(logs: np.ndarray) -> Rate:
    """Mean increment of the log norm over the middle half of the lags, averaged over samples, with a Newey-West 95 % interval.

    The mean of increments, not a line through the log norms, which are a random walk. The first quarter is left out (the
    adjoint turns towards the growing direction), and the last (the state still feels its start). Exact zeros give -inf.
    """
    lags = len(logs) - 1
    window = logs[lags // 4 : max(lags - lags // 4, lags // 4 + 1) + 1]
    if np.isneginf(window).any():
        return Rate(-np.inf, -np.inf, -np.inf)
    steps = np.diff(window, axis=0).mean(1)
    half = 1.96 * _newey_west(steps)
    return Rate(float(steps.mean()), float(steps.mean() - half), float(steps.mean() + half))


def _newey_west(values: np.ndarray) -> float:
    """Standard error of the mean of a correlated series (Bartlett weights); inf for fewer than 4 values."""
    count = len(values)
    if count < 4:
        return float("inf")
    centred = values - values.mean()
    width = int(4 * (count / 100) ** (2 / 9)) + 1
    covariance = [float(centred[k:] @ centred[: count - k]) / count for k in range(width + 1)]
    variance = covariance[0] + 2 * sum((1 - k / (width + 1)) * c for k, c in enumerate(covariance) if k)
    return float(np.sqrt(max(variance, 0.0) / count))


def word(low: float, high: float) -> str:
    """vanishes or explodes where the interval lies wholly beyond 0.01 nats a step, else stable."""
    if high < -MARGIN:
        return "vanishes"
    return "explodes" if low > MARGIN else "stable"
