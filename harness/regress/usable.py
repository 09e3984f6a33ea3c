"""The stored values that a time, or a ratio of times, can be, and the line about those that are left out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .. import store
from ..screen import counted, one_line


def usable(values: Iterable[float]) -> list[float]:
    """Those above 0 and finite."""
    return [v for v in values if 1 / store.LARGEST <= v <= store.LARGEST]


def strange(
    series: Iterable[dict[str, Any]], run: str, kept: Callable[[Iterable[float]], list[float]] = usable
) -> list[tuple[str, str]]:
    """(metric, run) of each value of a run's series that is not kept."""
    return [
        (one["metric"], run) for one in series for _ in range(len(one["values"]) - len(kept(one["values"])))
    ]


def left_out(strange: Sequence[tuple[str, str]]) -> list[str]:
    """The line about values that are left out, if there are any; each is given as (metric, run)."""
    if not strange:
        return []
    metrics, runs = (sorted(set(column)) for column in zip(*strange, strict=True))
    more = f" and {counted(len(runs) - 1, 'other')}" if len(runs) > 1 else ""
    values = f"{counted(len(strange), 'value')} {'is' if len(strange) == 1 else 'are'}"
    what = f"NaN, infinite, 0, negative or beyond {store.LARGEST:g}, and left out"
    return [one_line(f"{values} {what}: {', '.join(metrics)} of run {runs[0]}{more}.")]
