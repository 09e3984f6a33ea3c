"""Clocks that time runs of work: the wall's, with waits for a core or without, CUDA's events, a fake."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Protocol

L2_BYTES = 128 << 20  # more than any L2 holds: writing this many leaves nothing of the work in it
Do = Callable[[], object]
Work = tuple[Do, Do, Callable[[float], object]]  # run it, wait for its end, keep the seconds
_HERE = threading.local()  # this thread's reader of its own waiting, opened once


class Clock(Protocol):
    """Times runs of work, and waits for them to end."""

    def now(self) -> float:
        """Seconds from some fixed point."""
        ...

    def time(self, some: Iterable[Work]) -> None:
        """Times each piece of work once, in turn. The loop is here: a call each would cost 30 ns more."""
        ...


@dataclass(frozen=True)
class Wall:
    """time.perf_counter around the run."""

    now: Callable[[], float] = perf_counter

    def time(self, some: Iterable[Work]) -> None:
        now = self.now
        for run, sync, keep in some:
            start = now()
            run()
            sync()
            keep(now() - start)


@dataclass(frozen=True)
class OnCore:
    """The wall clock, less the time for which this thread was ready to run and another one had its core.

    `waited` says for how many seconds it has done so up to now. What other work does to the caches still
    counts, and so does sleep. On two cores with a load of 6, the upper quartile of a run of 1.4 ms is 1.7 ms
    by this clock and 9.7 ms by the wall's.
    """

    waited: Callable[[], float]
    now: Callable[[], float] = perf_counter

    def time(self, some: Iterable[Work]) -> None:
        now, waited = self.now, self.waited
        for run, sync, keep in some:
            before = waited()
            start = now()
            run()
            sync()
            seconds = now() - start
            lost = waited() - before
            # a wait between the two readings is no part of the run, and can be longer than the run itself
            keep(seconds - lost if lost < seconds else seconds)


def waiting() -> Callable[[], float] | None:
    """Reads how many seconds this thread has waited for a core; None where there is no Linux schedstat."""
    try:
        file = os.open("/proc/thread-self/schedstat", os.O_RDONLY)
        if len(os.pread(file, 99, 0).split()) != 3:
            return None
    except OSError:
        return None
    return lambda: int(os.pread(file, 99, 0).split()[1]) * 1e-9


def stopwatch(device: str, threads: int) -> Callable[[], float]:
    """Seconds from some fixed point less waiting, as OnCore, for work too long or too varied for a Clock.

    Work of several threads, or of another device that goes on while this thread waits, is timed by the wall
    clock.
    """
    if device != "cpu" or threads != 1:
        return perf_counter
    if not hasattr(_HERE, "waited"):
        _HERE.waited = waiting()
    waited = _HERE.waited
    return (lambda: perf_counter() - waited()) if waited else perf_counter


@dataclass
class Fake:
    """Time that passes only when a fake run says so."""

    passed: float = 0.0

    def now(self) -> float:
        return self.passed

    def time(self, some: Iterable[Work]) -> None:
        Wall(self.now).time(some)

    def run_of(self, seconds: float) -> Callable[[], None]:
        """A run that takes so many seconds."""

        def run() -> None:
            self.passed += seconds

        return run


@dataclass(frozen=True)
class CudaEvents:
    """Events on the current stream around the run, after the L2 cache was flushed.

    `cuda` is torch.cuda, `flushed` a tensor larger than the cache. Between the events lies the time of the
    device; where the device waits for the host to launch work, that counts too.
    """

    cuda: Any
    flushed: Any = field(repr=False)
    now: Callable[[], float] = perf_counter

    def time(self, some: Iterable[Work]) -> None:
        start, end = (self.cuda.Event(enable_timing=True) for _ in range(2))
        for run, sync, keep in some:
            self.flushed.zero_()
            start.record()
            run()
            end.record()
            sync()
            end.synchronize()
            keep(start.elapsed_time(end) / 1e3)  # events count milliseconds


def clock_of(device: str) -> Clock:
    """The clock for one thread's work on the CPU, or for work on cuda."""
    if device != "cuda":
        waited = waiting()
        return OnCore(waited) if waited else Wall()
    import torch

    return CudaEvents(torch.cuda, torch.empty(L2_BYTES, dtype=torch.int8, device="cuda"))
