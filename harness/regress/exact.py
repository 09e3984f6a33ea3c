"""Exact values that differ between two stored runs: all that was computed rather than timed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

from .benchmarks import Fact
from .stored_run import StoredCase, StoredRun

RELATIVE = 1e-6  # another order of the same sums may change so much
TIMED = ("s", "1/s", "FLOP/s")  # units that a clock measures
WORK = ("useful_tokens", "padded_tokens")  # throughput: what a run of it works on
SIZE = ("parameters", "state_size")


def facts(a: StoredRun, b: StoredRun) -> tuple[Fact, ...]:
    """Metrics that differ, of cases that are ok in both runs; for information.

    They are counts, rates and seeded losses.

    Throughput is judged, not compared here. Fails nothing: `nox -s baselines` is the gate for what is exact.
    """
    alike = [
        (name, case, b.cases[name])
        for name, case in a.cases.items()
        if name in b.cases and case.probe != "throughput"
    ]
    return tuple(
        Fact(f"{name} {metric}", old, new, gated=False)
        for name, one, other in alike
        if one.ok and other.ok
        for metric, old, new in differences(one, other)
    )


def differences(one: StoredCase, other: StoredCase) -> Iterator[tuple[str, str, str]]:
    """(metric, old, new) of every metric that differs; of a curve, the first place where it does."""
    old, new = values(one), values(other)
    for metric in dict.fromkeys([*old, *new]):
        before, now = old.get(metric, []), new.get(metric, [])
        for place, (x, y) in enumerate(zip_longest(before, now)):
            if not same(x, y):
                where = "" if len(before) == len(now) == 1 else f" (value {place} of {len(now)})"
                yield metric, shown(x), shown(y) + where
                break


def values(case: StoredCase) -> dict[str, list[float]]:
    """The numbers of every metric that no clock says."""
    numbers: dict[str, list[float]] = {}
    for series in case.series:
        if series["unit"] not in TIMED:
            numbers.setdefault(series["metric"], []).extend(series["values"])
    return numbers


def same(x: float | None, y: float | None) -> bool:
    if x is None or y is None:
        return x is y
    return math.isclose(x, y, rel_tol=RELATIVE) or (math.isnan(x) and math.isnan(y))


def shown(value: float | None) -> str:
    return "none" if value is None else f"{value:.10g}"


def other_work(name: str, a: StoredRun, b: StoredRun) -> str | None:
    """The reason why a throughput case is other work in the two runs, or None.

    Its tokens, or the size of its cell, show it.
    """
    pairs = (a.cases[name], b.cases[name], WORK), (_counts(a, name), _counts(b, name), SIZE)
    for one, other, metrics in pairs:
        if one is None or other is None:
            continue
        for metric in metrics:
            old, new = (sorted(set(values(case).get(metric, ()))) for case in (one, other))
            if old != new:
                return (
                    f"not the same work: {metric} {' '.join(map(shown, old)) or 'none'} ->"
                    f" {' '.join(map(shown, new)) or 'none'}"
                )
    return None


def _counts(run: StoredRun, name: str) -> StoredCase | None:
    """The case of the probe parameters for the cell and the sizes of another case."""

    def key(definition: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(definition.get(k) for k in ("cell", "options", "input_size", "hidden_size", "match"))

    wanted = key(run.cases[name].definition)
    return next((c for c in run.of("parameters").values() if c.ok and key(c.definition) == wanted), None)
