"""Times several callables against each other: warmed, calibrated, in random order, without the collector."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, cycle, islice

import numpy as np

from .clocks import Clock, Wall, Work

WALL = Wall()
SET_ASIDE: list[bool] = []  # not empty where this process's imports are; to count them takes 40 ms
MOST_ORDERS = 60  # random orders that are drawn at once; after as many rounds they come again


@dataclass(frozen=True)
class Timed:
    """Work to be timed: `run` starts it and may return early, `sync` waits for it."""

    run: Callable[[], object]
    sync: Callable[[], object]

    def seconds(self, loops: int, clock: Clock = WALL) -> float:
        """Seconds for one run, from `loops` runs in a row and one sync."""
        kept: list[float] = []
        clock.time([(looped(self.run, loops), self.sync, kept.append)])
        return kept[0] / loops


def looped(run: Callable[[], object], loops: int) -> Callable[[], object]:
    """Several runs in a row as one."""
    if loops == 1:
        return run
    times = (None,) * loops

    def runs() -> None:
        for _ in times:
            run()

    return runs


def warm_up(timed: Timed, clock: Clock = WALL, at_least_s: float = 0.05, at_least_runs: int = 3) -> float:
    """Runs until both bounds are passed; returns the seconds of the fastest run, the least disturbed one."""
    start, runs, fastest = clock.now(), 0, float("inf")
    while runs < at_least_runs or clock.now() - start < at_least_s:
        fastest = min(fastest, timed.seconds(1, clock))
        runs += 1
    return fastest


def loops_for(run_s: float, sample_s: float) -> int:
    """The runs that make a sample of about sample_s, so that the clock's own 0.1 us do not count."""
    return max(1, round(sample_s / max(run_s, 1e-9)))


def interleave(
    items: dict[str, Timed],
    samples: int,
    rng: np.random.Generator,
    clock: Clock = WALL,
    sample_s: float = 0.005,
    between: Callable[[], object] = lambda: None,
) -> dict[str, list[float]]:
    """Seconds of one run, `samples` times for each item: every round times each item once, in a random order.

    `between` is called between rounds, outside what is timed.
    """
    loops = {}
    for name, timed in items.items():
        loops[name] = loops_for(warm_up(timed, clock), sample_s)
        between()
    return rounds(items, loops, samples, rng, clock, between)


def rounds(
    items: dict[str, Timed],
    loops: dict[str, int],
    samples: int,
    rng: np.random.Generator,
    clock: Clock = WALL,
    between: Callable[[], object] | None = None,
) -> dict[str, list[float]]:
    """The same for items that are warm, with the number of runs of each item's samples."""
    seconds: dict[str, list[float]] = {name: [] for name in items}
    work = [(looped(one.run, loops[name]), one.sync, seconds[name].append) for name, one in items.items()]
    picks = np.argsort(rng.random((min(samples, MOST_ORDERS), len(work))), axis=1)
    orders = [[work[k] for k in row] for row in picks.tolist()]
    with collector_off():
        clock.time(chain.from_iterable(turns(islice(cycle(orders), samples), between)))
    return {
        name: [v / loops[name] for v in values] if loops[name] > 1 else values
        for name, values in seconds.items()
    }


def turns(orders: Iterator[list[Work]], between: Callable[[], object] | None) -> Iterator[list[Work]]:
    """The orders of all rounds; `between` is called after each."""
    for order in orders:
        yield order
        if between:
            between()


def set_aside() -> None:
    """Sets all objects aside from the garbage collector for good, such as what was imported."""
    gc.collect()
    gc.freeze()
    SET_ASIDE.append(True)


@contextmanager
def collector_off() -> Iterator[None]:
    """Python's garbage collector off, after one full collection.

    Objects that lived before are set aside (gc.freeze), so that inside another such span only what was made
    since is collected: going over all that torch and Numba import takes 0.1 to 0.4 s. Where a process has set
    its imports aside already, they stay so, and all else is collected as ever.
    """
    was_on, aside = gc.isenabled(), bool(SET_ASIDE) or gc.get_freeze_count() > 0
    gc.collect()
    if was_on:
        if not aside:
            gc.freeze()
        gc.disable()
    try:
        yield
    finally:
        if was_on:
            if not aside:
                gc.unfreeze()
            gc.enable()
