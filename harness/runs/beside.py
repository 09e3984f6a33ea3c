"""Whether other jobs of a sweep wanted the cores on which a job was timing.

Only jobs of the same sweep count, on the same machine, whose cores are among this job's. Other work may never
end: every case of a noisy machine would be measured again for ever.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections import deque
from collections.abc import Hashable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType

from ..measure.conditions import SLACK, quota
from ..measure.runnable import wanting
from ..store.files import ResultsError
from ..store.sweeps import Sweep

LOOK_S = 1.0  # between two looks, of some milliseconds each
MOST_LOOKS = 10_000  # that are kept


@dataclass(frozen=True)
class Look:
    """At an instant: how many threads of other jobs want a core, and the cores that are shared with them."""

    at: float
    wanting: int
    cores: int


class Beside:
    """Looks at the other jobs, while a job measures. `cases` are those that were disturbed."""

    def __init__(self, sweep: Sweep, number: int) -> None:
        self.sweep, self.host = sweep, socket.gethostname()
        self.others = {n for n in range(len(sweep.jobs)) if n != number}  # that have yet to be done
        self.looks: deque[Look] = deque(maxlen=MOST_LOOKS)
        self.cases: set[str] = set()
        self.begin()
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._look_on, daemon=True)

    def __enter__(self) -> Beside:
        self.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ended.set()
        self.thread.join()

    def begin(self) -> None:
        """From here on something is timed."""
        self.since = time.monotonic()
        self.what: Hashable = None
        self.reason: str | None = None

    def over(self, what: Hashable, case: str, threads: int) -> str | None:
        """Why a case of so many threads was disturbed while `what` was in hand, or None.

        That is the time since another `what` was in hand, or since `begin`.
        """
        if what != self.what:
            self.reason = self._reason(threads)
            self.since, self.what = time.monotonic(), what
        if self.reason is not None:
            self.cases.add(case)
        return self.reason

    def _reason(self, threads: int) -> str | None:
        looks = [look for look in list(self.looks) if look.at >= self.since] or [self.look()]
        load, cores = sum(look.wanting for look in looks) / len(looks), min(look.cores for look in looks)
        if load <= max(0, cores - threads) + SLACK:
            return None
        return (
            f"other jobs of the sweep disturbed it: {load:.1f} threads of theirs and {threads} of its own on"
            f" {cores} cores; measure it again"
        )

    def look(self) -> Look:
        """How it is now."""
        own = _cores(0)
        there = {process: own | cores for process, cores in self._processes() if own & cores}
        cores, limit = len(own.union(*there.values())), quota()
        return Look(
            time.monotonic(), wanting(there), cores if limit is None else max(1, min(cores, int(limit)))
        )

    def _processes(self) -> list[tuple[int, set[int]]]:
        """The processes of other jobs that run on this machine, and the cores that each may use."""
        found = []
        for number in sorted(self.others):
            record = None
            with suppress(ResultsError):  # a damaged record is told of elsewhere
                record = self.sweep.begun(number)
            if record and record.state == "done":
                self.others.discard(number)
            here = record and record.state == "running" and record.host == self.host
            # in a container of its own, a job may have this one's number
            if here and record and record.process and record.process != os.getpid():
                found.append((record.process, _cores(record.process)))
        return found

    def _look_on(self) -> None:
        while not self.ended.wait(LOOK_S):
            self.looks.append(self.look())


def _cores(process: int) -> set[int]:
    """The cores that a process may use, 0 for this one; none where it has ended, or nothing tells."""
    try:
        return os.sched_getaffinity(process)
    except (OSError, AttributeError):
        return set()
