"""The interval of a share of trials (Wilson 1927)."""

from __future__ import annotations


def wilson(hits: int, n: int) -> tuple[float, float]:
    """The 95 % interval of the share that hits of n trials tell."""
    from scipy.stats import binomtest

    interval = binomtest(hits, n).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)
