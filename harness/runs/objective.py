"""The number that a run comes to, for a sweeper that searches: objective=PROBE.METRIC."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cellbench.cells import find

from .. import store
from .values import ConfigError


def split(text: Any, probes: list[str]) -> tuple[str, str] | None:
    """(probe, metric) of what the configuration says; None for none. Raises ConfigError."""
    if text is None:
        return None
    probe, metric = named(text)
    if probe not in probes:
        near = find.nearest(probe, probes)
        raise ConfigError(
            f"objective is of probe {probe!r}, which is not run{near} probes: {', '.join(probes)}"
        )
    return probe, metric


def named(text: Any) -> tuple[str, str]:
    """(probe, metric) of PROBE.METRIC. Raises ConfigError."""
    probe, dot, metric = text.partition(".") if isinstance(text, str) else ("", "", "")
    if not (dot and metric):
        raise ConfigError(f"objective is {text!r}; it must be PROBE.METRIC, such as throughput.seconds")
    return probe, metric


def value(run: Path, text: str) -> float:
    """The mean over cases of the median of the metric, of the cases that are ok, or were pruned.

    Raises ConfigError where the run has no such number, or one that is not finite.
    """
    import numpy as np

    probe, metric = named(text)
    frame = store.load(run)
    rows = frame[(frame["probe"] == probe) & frame["status"].isin(store.ENDED)]
    metrics = list(rows["metric"].dropna().unique())
    if metric not in metrics:
        measured = f"measured: {', '.join(metrics)}" if metrics else "no case of it is ok"
        raise ConfigError(
            f"objective={text}: run {run} has no metric {metric!r}{find.nearest(metric, metrics)} {measured}"
        )
    number = float(rows[rows["metric"] == metric].groupby("case")["value"].median().mean())
    if not np.isfinite(number):
        raise ConfigError(f"objective={text}: it is {number} in run {run}")
    return number
