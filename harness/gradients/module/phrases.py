"""The phrases of a verdict's line of evidence."""

from __future__ import annotations

import numpy as np

from .evidence import Evidence, Lag, best


def position(e: Evidence) -> str:
    """The loss between its floor and a constant answer's."""
    floor = "floor unknown" if e.floor is None else f"floor {e.floor:.3g}"
    return f"loss {e.loss:.3g} of {e.trivial:.3g} for a constant answer ({floor})"


def swaps(e: Evidence) -> str:
    """The most that a swapped input costs."""
    rises = [*(float(v) for v in e.swap if np.isfinite(v)), *(b.swap for b in e.bands)]
    return f"swapping an input costs up to {share(max(rises, default=0.0), e)}"


def carried(e: Evidence, lag: Lag | None) -> str:
    """The median transport at this lag, or at the last one."""
    at = len(e.typical) - 1 if lag is None else lag
    return f"median transport {power(best(e.typical, at))} at {lags(at)}"


def share(value: float, e: Evidence) -> str:
    """A share of the trivial loss, in words; absolute where that loss is not above 0."""
    return f"{value / e.trivial:.3f}" if e.trivial > 0 else f"{value:.3g} (absolute)"


def power(log: float) -> str:
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
