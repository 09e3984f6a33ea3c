"""The evidence of a verdict, as plain numbers: measured by `diagnose`, or put together by hand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Lag = int | tuple[int, int]  # one, or (lowest, highest)


@dataclass(frozen=True)
class Band:
    """Lags low..high together.

    recoverable, z   loss that a connection from their inputs would recover, and its significance
    swap             rise of the loss when their inputs are swapped between samples
    needed           samples that a gradient from there needs to rise above the gradient's noise
    """

    low: int
    high: int
    recoverable: float
    z: float
    swap: float
    needed: float


@dataclass(frozen=True)
class Evidence:
    """Losses are per sample. Arrays are by lag 0, 1, ...; NaN where a lag was not measured.

    trivial          loss of the best constant answer
    floor            the least loss there can be, None where unknown
    transport        log of the rms gradient of the joint state over samples, relative to that at the end
    typical          the same of the median sample
    source           gradient at the last state over (residual x norm of the read-out), median over samples
    saturation       share of (unit, step, sample) where no input of the step moves the state
    recoverable, z   score test of a connection from the input at that lag
    swap             rise of the loss when the input at that lag is swapped between samples
    probe_recovered  held-out loss recovered by a probe of inputs and their products, None where not run
    probe_power      the same from a constant answer: how much the probe can find at all
    stationary       cockpit's stopping criterion: above 0 the gradient is indistinguishable from its noise
    samples_seen     by the training so far, None where unknown
    broken           the state or gradient that is not finite, by name; empty if all are
    undefined        the loss that is not finite though outputs and states are, by name; empty if it is
    mixes            how the loss mixes the samples of a batch, in words; empty where it does not
    notes            what else the reader should know, each in words
    """

    loss: float
    trivial: float
    floor: float | None
    transport: np.ndarray
    typical: np.ndarray
    source: float
    saturation: float
    recoverable: np.ndarray
    z: np.ndarray
    swap: np.ndarray
    bands: tuple[Band, ...]
    probe_recovered: float | None = None
    probe_power: float = 0.0
    probe_pair: tuple[tuple[int, int], ...] | None = None
    probe_pair_z: float = 0.0
    stationary: float = float("nan")
    samples_seen: float | None = None
    broken: str = ""
    undefined: str = ""
    mixes: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        lengths = {
            name: len(getattr(self, name)) for name in ("transport", "typical", "recoverable", "z", "swap")
        }
        if len(set(lengths.values())) > 1:
            raise ValueError(f"arrays by lag have lengths {lengths}; they must be equal")
        if self.floor is not None and not self.floor <= self.trivial:
            raise ValueError(
                f"floor is {self.floor:g} and the trivial loss {self.trivial:g}; the floor cannot be above it"
            )

    @property
    def excess(self) -> float:
        """Loss above the floor (0 where unknown) as a share of what a constant answer has."""
        floor = self.floor or 0.0
        return (self.loss - floor) / (self.trivial - floor) if self.trivial > floor else float("nan")


def gains(e: Evidence) -> list[float]:
    """All recoverable losses, of single lags and of bands, and 0."""
    return [0.0, *(float(v) for v in e.recoverable if np.isfinite(v)), *(b.recoverable for b in e.bands)]


def best(logs: np.ndarray, lag: Lag) -> float:
    """The largest of the lags, NaN left out; -inf where none is known."""
    low, high = (lag, lag) if isinstance(lag, int) else lag
    return float(np.max(known(logs[low : high + 1])))


def known(logs: np.ndarray) -> np.ndarray:
    """Those that are NaN as -inf, so that they are never the largest."""
    return np.where(np.isnan(logs), -np.inf, logs)
