"""Converged, vanished, or something else: the rules of a verdict, in a fixed order, from the evidence alone.

Neither the gradient's norm nor the transport tells a network that has nothing left to learn from one whose
gradient died on the way (a solved latch has a transport of 1e-31). The data is asked first: is anything left
to explain, and at which lag?
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from cellbench.cells.display import Displayed

from .evidence import Band, Evidence, Lag, best, gains, known
from .phrases import carried, lags, position, power, share, swaps


@dataclass(frozen=True)
class Thresholds:
    """Where the rules change. Losses are shares of the trivial loss; transports are not logarithms.

    exploded        transport above which the gradient counts as exploded
    converged       excess, or recoverable share, within which nothing is left to learn
    latched         median transport below which a far input that matters is held by a latch
    dead_read_out   source below which the read-out passes nothing on
    z, effect       significance and size that a recoverable loss must have: a solved network still has a z of
                    1500 with a share of 0.016, so z alone decides nothing
    vanished        transport that half precision cannot hold, its smallest subnormal
    saturated       share of saturated units above which a state without a gradient is dead
    needed          samples beyond which a gradient counts as vanished where the caller does not say how many
                    training has seen. Recall with default initialisations was learned within 40,000 samples
                    up to about 1e11, and mostly not above: the estimate is for a fixed network
    matters         rise of the loss by a swap from which an input counts as used
    untouched       excess above which nothing was learned at all
    power           share of the loss already won that the probe must find from a constant answer

    They were set on the seen two thirds of the labelled networks of tests/support/verdict_suite.py.
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


@dataclass(frozen=True, repr=False)
class Verdict(Displayed):
    """One label, and one line of the numbers that decided.

    label       EXPLODED, LOSS NOT FINITE, LOSS MIXES SAMPLES, CONVERGED, VANISHED, DEAD STATE, DEAD READ-OUT,
                LEARNING or UNDETERMINED
    qualifier   latched, short memory, partial, plateau, or none
    lag         one lag or (lowest, highest): of the loss left to explain, or of the input that a latch holds
    """

    drawn = ("label",)  # which is no number: a verdict's figure is its text

    label: str
    qualifier: str
    lag: Lag | None
    evidence: str

    def __str__(self) -> str:
        kind = "" if self.qualifier == "none" else f" ({self.qualifier})"
        where = "" if self.lag is None else f" at {lags(self.lag)}"
        return f"{self.label}{kind}{where}: {self.evidence}"


def verdict(evidence: Evidence, thresholds: Thresholds | None = None) -> Verdict:
    """The first of RULES that applies; else whether the gradient reaches the lag to learn."""
    found = _decided(evidence, thresholds or Thresholds())
    return replace(found, evidence="; ".join([found.evidence, *evidence.notes]))


def _decided(evidence: Evidence, limit: Thresholds) -> Verdict:
    for rule in RULES:
        if applied := rule(evidence, limit):
            return applied
    left = _unexplained(evidence, limit)
    if left is None:
        return Verdict("UNDETERMINED", "none", None, f"{position(evidence)}; {_nothing(evidence, limit)}")
    return _unlearned(evidence, limit, *left)


def _not_finite(e: Evidence, limit: Thresholds) -> Verdict | None:
    return Verdict("EXPLODED", "none", None, f"not finite: {e.broken}") if e.broken else None


def _undefined(e: Evidence, limit: Thresholds) -> Verdict | None:
    return Verdict("LOSS NOT FINITE", "none", None, e.undefined) if e.undefined else None


def _mixed(e: Evidence, limit: Thresholds) -> Verdict | None:
    return Verdict("LOSS MIXES SAMPLES", "none", None, e.mixes) if e.mixes else None


def _exploded(e: Evidence, limit: Thresholds) -> Verdict | None:
    peak = int(np.nanargmax(known(e.transport)))
    # `not <=`, for an excess that is NaN is no solution: a solved network may well have a steep gradient
    if not (e.transport[peak] > np.log(limit.exploded) and not e.excess <= limit.converged):
        return None
    grown = (
        f"the gradient grows to {power(e.transport[peak])} times its size at the end by lag {peak},"
        f" above {limit.exploded:g}"
    )
    return Verdict("EXPLODED", "none", peak, f"{grown}; {position(e)}")


def _converged(e: Evidence, limit: Thresholds) -> Verdict | None:
    reason = _solved(e, limit)
    if not reason:
        return None
    qualifier, lag = _memory(e, limit)
    line = f"{position(e)}; {reason}; {swaps(e)}, {carried(e, lag)}"
    return Verdict("CONVERGED", qualifier, lag if qualifier == "latched" else None, line)


def _dead_read_out(e: Evidence, limit: Thresholds) -> Verdict | None:
    if not e.source < limit.dead_read_out:
        return None
    dead = f"the last state gets {e.source:.2g} of residual x read-out norm, below {limit.dead_read_out:g}"
    return Verdict("DEAD READ-OUT", "none", None, f"{dead}; {position(e)}")


# the data before the gradient: a solved network has no gradient to speak of, and one behind a dead read-out
# none that tells of the state
RULES = (_not_finite, _undefined, _mixed, _exploded, _converged, _dead_read_out)


def _unlearned(e: Evidence, limit: Thresholds, lag: Lag, band: Band) -> Verdict:
    """Something is left to explain at known lags: does the gradient get there?"""
    at = lag if isinstance(lag, int) else (band.low, band.high)
    transport, typical = best(e.transport, at), best(e.typical, at)
    allowed = e.samples_seen or limit.needed
    line = _numbers(e, lag, band, f"transport {power(transport)} at {lags(at)}", allowed)
    used = band.swap > limit.matters * e.trivial
    # the input already counts for something, and not for all: a latch that holds a part of it
    partial = used and limit.converged < e.excess < limit.untouched
    if partial and typical < np.log(limit.latched):
        return Verdict("VANISHED", "partial", lag, f"{line}, median transport {power(typical)}")
    if transport < np.log(limit.vanished) or band.needed > allowed:
        if e.saturation > limit.saturated and not used:
            return Verdict("DEAD STATE", "none", lag, line)
        return Verdict("VANISHED", "partial" if partial else "none", lag, line)
    return Verdict("LEARNING", "plateau" if e.stationary > 0 else "none", lag, line)


def _numbers(e: Evidence, lag: Lag, band: Band, transport: str, allowed: float) -> str:
    """The line of a verdict on loss that is left to explain."""
    gain, z = (e.recoverable[lag], e.z[lag]) if isinstance(lag, int) else (band.recoverable, band.z)
    # no number where the recurrence is frozen, so that it has no gradient
    needed = f", {band.needed:.2g} samples needed of {allowed:.2g}" if band.needed == band.needed else ""
    return (
        f"{position(e)}; {share(float(gain), e)} of the trivial loss recoverable at {lags(lag)} (z {z:.0f});"
        f" {transport}{needed};"
        f" swap there {share(band.swap, e)}, saturation {e.saturation:.2f}"
    )


def _solved(e: Evidence, limit: Thresholds) -> str:
    """Why nothing is left to learn; empty if something is, or if that is not known.

    A loss below 0 has no floor at 0, so without a known floor its excess says nothing.
    """
    if e.excess <= limit.converged and (e.floor is not None or e.loss >= 0):
        return f"excess {e.excess:.3g} is within {limit.converged:g}"
    if e.floor is not None or e.probe_recovered is None or not e.excess < limit.untouched:
        return ""
    most = max(gains(e))
    if most > limit.converged * e.trivial or e.probe_recovered > limit.converged * e.trivial:
        return ""
    if e.probe_power < limit.power * (e.trivial - e.loss):  # a probe that cannot find shows nothing
        return ""
    return (
        f"nothing is recoverable (score at most {share(most, e)}, probe {share(e.probe_recovered, e)} of"
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
    return ("latched" if best(e.typical, farthest) < np.log(limit.latched) else "none"), farthest


def _unexplained(e: Evidence, limit: Thresholds) -> tuple[Lag, Band] | None:
    """Where the most is recoverable, with the band around it.

    It is a single lag if that shows at least half of the best band's loss, else a run of bands.
    """
    least = limit.effect * e.trivial
    bands = [b for b in e.bands if b.z > limit.z and b.recoverable > least]
    single = [k for k in range(len(e.z)) if e.z[k] > limit.z and e.recoverable[k] > least]
    strongest = max(bands, key=lambda b: b.recoverable, default=None)
    lag = max(single, key=lambda k: e.recoverable[k], default=None)
    if lag is not None and (strongest is None or 2 * e.recoverable[lag] >= strongest.recoverable):
        return lag, next(b for b in e.bands if b.low <= lag <= b.high)
    return None if strongest is None else (_run(bands, strongest), strongest)


def _run(bands: list[Band], strongest: Band) -> tuple[int, int]:
    """The lags of the bands around the strongest that follow each other and show at least a fifth of it."""
    low, high = strongest.low, strongest.high
    strong = [b for b in bands if b.recoverable >= 0.2 * strongest.recoverable]
    for b in sorted(strong, key=lambda b: b.low):
        high = b.high if b.low == high + 1 else high
    for b in sorted(strong, key=lambda b: -b.low):
        low = b.low if b.high == low - 1 else low
    return low, high


def _nothing(e: Evidence, limit: Thresholds) -> str:
    """Why nothing is known to be left, and nothing is known to be learned."""
    z = max([0.0, *(float(v) for v in e.z if np.isfinite(v)), *(b.z for b in e.bands)])
    line = (
        f"no single input shows anything left to explain (z at most {z:.1f}, {share(max(gains(e)), e)} of"
        " the trivial loss)"
    )
    if e.probe_recovered is None:
        return f"{line}; no probe of products was run"
    if e.probe_recovered > limit.converged * e.trivial and e.probe_pair is not None:
        where = " x ".join(lags(p if p[0] < p[1] else p[0]) for p in e.probe_pair)
        recovered = f"the probe recovers {share(e.probe_recovered, e)} from products of inputs"
        return f"{line}; {recovered}, best {where} (z {e.probe_pair_z:.0f}): an interaction"
    power = f"power {share(e.probe_power, e)}"
    return (
        f"{line}; the probe recovers {share(e.probe_recovered, e)} ({power}), which does not show that"
        " nothing is there"
    )
