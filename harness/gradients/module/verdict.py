"""Converged, vanished, or something else: the decision, in a fixed order, from the evidence alone.

Neither the gradient's norm nor the transport tells a network that has nothing left to learn from one whose
gradient died on the way (a solved latch has a transport of 1e-31). The data is asked first: is anything left
to explain, and at which lag?
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .evidence import Band, Evidence

Lag = int | tuple[int, int]


@dataclass(frozen=True)
class Thresholds:
    """Where the rules change. Shares are of the trivial loss, transports natural (not their logarithms).

    needed: samples beyond which a gradient counts as vanished where nobody says how many training has seen.
    Recall with default initialisations was learned within 40,000 samples up to about 1e11, and mostly not
    above: the estimate is for a fixed network.
    """

    exploded: float = 1e3
    converged: float = 0.05
    latched: float = 1e-4
    dead_read_out: float = 1e-3
    z: float = 6.0
    effect: float = 0.02
    vanished: float = 2.0**-24
    saturated: float = 0.9
    needed: float = 1e11
    matters: float = 0.01
    untouched: float = 0.95
    power: float = 0.5


@dataclass(frozen=True)
class Verdict:
    """label: EXPLODED, CONVERGED, VANISHED, DEAD STATE, DEAD READ-OUT, LEARNING or UNDETERMINED.

    qualifier: latched, short memory, partial, plateau, or none. lag: one lag or (lowest, highest) of what is
    left to explain, of what a latch holds, or None. evidence: one line with the numbers that decided.
    """

    label: str
    qualifier: str
    lag: Lag | None
    evidence: str

    def __str__(self) -> str:
        kind = "" if self.qualifier == "none" else f" ({self.qualifier})"
        where = "" if self.lag is None else f" at {lags(self.lag)}"
        return f"{self.label}{kind}{where}: {self.evidence}"


def verdict(evidence: Evidence, thresholds: Thresholds | None = None) -> Verdict:
    """The first rule that applies: exploded, converged, dead read-out, undetermined, dead state or vanished,
    else learning.
    """
    e, limit = evidence, thresholds or Thresholds()
    if e.broken:
        return Verdict("EXPLODED", "none", None, f"not finite: {e.broken}")
    position = _position(e)
    peak = int(np.nanargmax(_known(e.transport)))
    if e.transport[peak] > np.log(limit.exploded) and not e.excess <= limit.converged:
        grown = (
            f"the gradient grows to {_power(e.transport[peak])} times its size at the end by lag {peak},"
            f" above {limit.exploded:g}"
        )
        return Verdict("EXPLODED", "none", peak, f"{grown}; {position}")
    left = _left(e, limit)
    reason = _converged(e, limit)
    if reason:
        qualifier, lag = _memory(e, limit)
        line = f"{position}; {reason}; {_swaps(e)}, {_carried(e, lag)}"
        return Verdict("CONVERGED", qualifier, lag if qualifier == "latched" else None, line)
    if e.source < limit.dead_read_out:
        dead = (
            f"the last state gets {e.source:.2g} of residual x read-out norm, below {limit.dead_read_out:g}"
        )
        return Verdict("DEAD READ-OUT", "none", None, f"{dead}; {position}")
    if left is None:
        return Verdict("UNDETERMINED", "none", None, f"{position}; {_nothing(e, limit)}")
    return _unlearned(e, limit, left, position)


def _unlearned(e: Evidence, limit: Thresholds, left: tuple[Lag, Band], position: str) -> Verdict:
    """Something is left to explain at known lags: does the gradient get there?"""
    lag, band = left
    at = lag if isinstance(lag, int) else (band.low, band.high)
    carried, allowed = _best(e.transport, at), e.samples_seen or limit.needed
    found = (
        f"{_share(_gain(e, lag, band), e)} of the trivial loss recoverable at {lags(lag)} (z"
        f" {_z(e, lag, band):.0f})"
    )
    path = f"transport {_power(carried)} at {lags(at)}, {band.needed:.2g} samples needed of {allowed:.2g}"
    line = f"{position}; {found}; {path}; swap there {_share(band.swap, e)}, saturation {e.saturation:.2f}"
    used = band.swap > limit.matters * e.trivial
    partial = used and limit.converged < e.excess < limit.untouched
    if partial and _best(e.typical, at) < np.log(limit.latched):
        return Verdict("VANISHED", "partial", lag, f"{line}, median transport {_power(_best(e.typical, at))}")
    if carried < np.log(limit.vanished) or band.needed > allowed:
        if e.saturation > limit.saturated and not used:
            return Verdict("DEAD STATE", "none", lag, line)
        return Verdict("VANISHED", "partial" if partial else "none", lag, line)
    return Verdict("LEARNING", "plateau" if e.stationary > 0 else "none", lag, line)


def _converged(e: Evidence, limit: Thresholds) -> str:
    """Why nothing is left to learn; empty if something is, or if that is not known."""
    if e.excess <= limit.converged and (e.floor is not None or e.loss >= 0):
        return f"excess {e.excess:.3g} is within {limit.converged:g}"
    if e.floor is not None or e.probe_recovered is None or not e.excess < limit.untouched:
        return ""
    most = max(_gains(e))
    if most > limit.converged * e.trivial or e.probe_recovered > limit.converged * e.trivial:
        return ""
    if e.probe_power < limit.power * (e.trivial - e.loss):
        return ""
    return (
        f"nothing is recoverable (score at most {_share(most, e)}, probe {_share(e.probe_recovered, e)} of"
        " the trivial loss)"
    )


def _memory(e: Evidence, limit: Thresholds) -> tuple[str, Lag | None]:
    """Does the solution rest on far inputs, and is their gradient gone for all that?"""
    far = max(len(e.swap) // 8, 1)
    used = [k for k in range(len(e.swap)) if e.swap[k] > limit.matters * e.trivial]
    bands = [b for b in e.bands if b.swap > limit.matters * e.trivial]
    if max([*used, *(b.high for b in bands)], default=0) < far:
        return "short memory", None
    farthest: Lag = (
        used[-1]
        if used and used[-1] >= max((b.low for b in bands), default=0)
        else (bands[-1].low, bands[-1].high)
    )
    return ("latched" if _best(e.typical, farthest) < np.log(limit.latched) else "none"), farthest


def _left(e: Evidence, limit: Thresholds) -> tuple[Lag, Band] | None:
    """Where the most is recoverable: a single lag if that shows at least half of what its best band does,
    else a run of bands.
    """
    least = limit.effect * e.trivial
    bands = [b for b in e.bands if b.z > limit.z and b.recoverable > least]
    single = [k for k in range(len(e.z)) if e.z[k] > limit.z and e.recoverable[k] > least]
    best = max(bands, key=lambda b: b.recoverable, default=None)
    lag = max(single, key=lambda k: e.recoverable[k], default=None)
    if lag is not None and (best is None or 2 * e.recoverable[lag] >= best.recoverable):
        return lag, next(b for b in e.bands if b.low <= lag <= b.high)
    if best is None:
        return None
    return _run(bands, best), best


def _run(bands: list[Band], best: Band) -> tuple[int, int]:
    """The lags of the bands around the best that follow each other and show at least a fifth of it."""
    low, high = best.low, best.high
    strong = [b for b in bands if b.recoverable >= 0.2 * best.recoverable]
    for b in sorted(strong, key=lambda b: b.low):
        high = b.high if b.low == high + 1 else high
    for b in sorted(strong, key=lambda b: -b.low):
        low = b.low if b.high == low - 1 else low
    return low, high


def _gains(e: Evidence) -> list[float]:
    return [0.0, *(float(v) for v in e.recoverable if np.isfinite(v)), *(b.recoverable for b in e.bands)]


def _gain(e: Evidence, lag: Lag, band: Band) -> float:
    return float(e.recoverable[lag]) if isinstance(lag, int) else band.recoverable


def _z(e: Evidence, lag: Lag, band: Band) -> float:
    return float(e.z[lag]) if isinstance(lag, int) else band.z


def _best(logs: np.ndarray, lag: Lag) -> float:
    """The largest of the lags, NaN left out; -inf where none is known."""
    low, high = (lag, lag) if isinstance(lag, int) else lag
    return float(np.max(_known(logs[low : high + 1])))


def _known(logs: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(logs), -np.inf, logs)


def _position(e: Evidence) -> str:
    floor = "floor unknown" if e.floor is None else f"floor {e.floor:.3g}"
    return f"loss {e.loss:.3g} of {e.trivial:.3g} for a constant answer ({floor})"


def _nothing(e: Evidence, limit: Thresholds) -> str:
    z = max([0.0, *(float(v) for v in e.z if np.isfinite(v)), *(b.z for b in e.bands)])
    line = (
        f"no single input shows anything left to explain (z at most {z:.1f}, {_share(max(_gains(e)), e)} of"
        " the trivial loss)"
    )
    if e.probe_recovered is None:
        return f"{line}; no probe of products was run"
    if e.probe_recovered > limit.converged * e.trivial and e.probe_pair is not None:
        where = " x ".join(lags(p if p[0] < p[1] else p[0]) for p in e.probe_pair)
        found = (
            f"the probe recovers {_share(e.probe_recovered, e)} from products of inputs, best {where} (z"
            f" {e.probe_pair_z:.0f})"
        )
        return f"{line}; {found}: an interaction"
    power = f"power {_share(e.probe_power, e)}"
    return (
        f"{line}; the probe recovers {_share(e.probe_recovered, e)} ({power}), which does not show that"
        " nothing is there"
    )


def _swaps(e: Evidence) -> str:
    rises = [*(float(v) for v in e.swap if np.isfinite(v)), *(b.swap for b in e.bands)]
    return f"swapping an input costs up to {_share(max(rises, default=0.0), e)}"


def _carried(e: Evidence, lag: Lag | None) -> str:
    at = len(e.typical) - 1 if lag is None else lag
    return f"median transport {_power(_best(e.typical, at))} at {lags(at)}"


def _share(value: float, e: Evidence) -> str:
    return f"{value / e.trivial:.3f}" if e.trivial > 0 else f"{value:.3g} (absolute)"


def _power(log: float) -> str:
    """A natural logarithm as a number that may be beyond what a float holds."""
    if not np.isfinite(log):
        return "0" if log < 0 else str(log)
    exponent = int(np.floor(log / np.log(10)))
    return (
        f"{np.exp(log - exponent * np.log(10)):.2g}e{exponent:+03d}"
        if abs(exponent) > 2
        else f"{np.exp(log):.3g}"
    )


def lags(lag: Lag) -> str:
    """In words."""
    return f"lag {lag}" if isinstance(lag, int) else f"lags {lag[0]}-{lag[1]}"
