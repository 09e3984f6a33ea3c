"""Times several callables against each other: warmed, calibrated, in random balanced order, with the collector off."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter

import numpy as np

Clock = Callable[[], float]


@dataclass(frozen=True)
class Timed:
    """What is timed: `run` starts the work and may return early, `sync` waits for it."""

    run: Callable[[], None]
    sync: Callable[[], None]

    def seconds(self, loops: int, clock: Clock) -> float:
        """Seconds for one run, from `loops` runs in a row and one sync."""
        run = self.run
        start = clock()
        for _ in range(loops):
            run()
        self.sync()
        return (clock() - start) / loops


def warm_up(timed: Timed, clock: Clock = perf_counter, at_least_s: float = 0.05, at_least_runs: int = 3) -> float:
    """Runs until both bounds are passed; returns the seconds of the last run."""
    start, runs, last = clock(), 0, 0.0
    while runs < at_least_runs or clock() - start < at_least_s:
        last = timed.seconds(1, clock)
        runs += 1
    return last


def loops_for(run_s: float, sample_s: float) -> int:
    """How many runs make a sample of about sample_s, so that the clock's own 0.1 microseconds do not count."""
    return max(1, round(sample_s / max(run_s, 1e-9)))


def interleave(
    items: dict[str, Timed], samples: int, rng: np.random.Generator, clock: Clock = perf_counter, sample_s: float = 0.005,
    between: Callable[[], object] = lambda: None,
) -> dict[str, list[float]]:  # fmt: skip
    """Seconds of one run, `samples` times for each item: every round times each item once, in a random order.

    `between` is called between rounds, outside what is timed.
    """
    loops = {}
    for name, timed in items.items():
        loops[name] = loops_for(warm_up(timed, clock), sample_s)
        between()
    found: dict[str, list[float]] = {name: [] for name in items}
    names = list(items)
    with collector_off():
        for _ in range(samples):
            for k in rng.permutation(len(names)):
                found[names[k]].append(items[names[k]].seconds(loops[names[k]], clock))
            between()
    return found


@contextmanager
def collector_off() -> Iterator[None]:
    """Python's garbage collector off, after one full collection."""
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
