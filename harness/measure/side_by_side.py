"""Functions in fresh processes, several at a time, whose messages are handled one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any

from .ahead import Ahead
from .started import UNFIT, Result, Started

RESTS = "rests"  # of a process that waits until it is told to go on
MOST_RESTING = 3  # each holds its memory, and what it trained, which a kill would lose


@dataclass(frozen=True)
class Attempt:
    """function(emit, *args) in a process of its own, as `worker.call` describes it.

    on_message may return a Result: the process is then ended, and that is how it ended. One of status RESTS
    says that the process waits for a byte in `go`, and needs no core until then.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    on_message: Callable[[Any], Result | None]
    threads: int = 1
    limit_memory: bool = True
    imported: tuple[str, ...] = ()
    ahead: Ahead | None = None  # has processes that wait already
    go: Connection | None = None


Work = Generator[Attempt, Result, None]  # attempts, one after the other; each yield returns how it ended


def side_by_side(works: Iterable[Work], most: int, timeout_s: float | None = None) -> None:
    """Does all works, at most so many at a time, in this order. timeout_s is the longest silence of each."""
    with SideBySide(timeout_s) as processes:
        processes.do(works, most)
        processes.finish((), most)


class SideBySide:
    """Works done in several goes. What rests waits through all of them, and goes on in the last."""

    def __init__(self, timeout_s: float | None = None) -> None:
        self._running = _Running(timeout_s)

    def __enter__(self) -> SideBySide:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in (*self._running.processes, *self._running.resting):
            process.end()

    def do(self, works: Iterable[Work], most: int) -> None:
        """All works in this order, at most so many at a time, each until it ends or rests."""
        self._do(iter(works), most, resume=False)

    def finish(self, works: Iterable[Work], most: int) -> None:
        """What rests to its end, and then all works."""
        self._do(iter(works), most, resume=True)

    def _do(self, left: Iterator[Work], most: int, resume: bool) -> None:
        running = self._running
        while True:
            while len(running.processes) < most:
                if resume and running.resting:
                    running.resume()
                elif (work := next(left, None)) is not None:
                    running.go_on(work)
                else:
                    break
            if not running.processes:
                return
            running.handle()


@dataclass
class _InHand:
    work: Work
    attempt: Attempt
    heard: float  # when it last gave a sign of life


class _Running:
    """The processes under way."""

    def __init__(self, timeout_s: float | None) -> None:
        self.timeout_s = timeout_s
        self.queue: SimpleQueue[tuple[Started, bytes | None]] = SimpleQueue()
        self.processes: dict[Started, _InHand] = {}
        self.resting: dict[Started, _InHand] = {}

    def go_on(self, work: Work, ended: Result | None = None) -> None:
        """Starts the work's next attempt, where it has one."""
        try:
            attempt = next(work) if ended is None else work.send(ended)
        except StopIteration:
            return
        self.start(work, attempt)

    def start(self, work: Work, attempt: Attempt) -> None:
        """Gives it to a process that waits, or starts one, forked only where it has one thread."""
        given = attempt.function, attempt.args, self.queue
        process = attempt.ahead.given(*given) if attempt.ahead else None
        if process is None:
            imported = attempt.imported if attempt.threads == 1 else ()
            process = Started(*given, attempt.threads, attempt.limit_memory, imported)
        self.processes[process] = _InHand(work, attempt, time.monotonic())

    def handle(self) -> None:
        """Waits for the next message, and handles it; or for a silence that is too long."""
        try:
            process, message = self.queue.get(timeout=self.patience_s())
        except Empty:
            process = min(self.processes, key=lambda one: self.processes[one].heard)
            late = f"nothing came for {self.timeout_s:g} s; case_timeout_s=SECONDS allows more"
            return self.ended(process, Result("timed_out", late))
        if process in self.resting:  # which sends nothing: it has ended
            self.processes[process] = self.resting.pop(process)
        if process not in self.processes:  # it was ended, and had sent this before
            return None
        told = process.told(message)
        if isinstance(told, Result):
            return self.ended(process, told)
        result = self.processes[process].attempt.on_message(told.content)
        self.processes[process].heard = time.monotonic()
        if isinstance(result, Result) and result.status == RESTS:
            return self.rest(process)
        return self.ended(process, result) if isinstance(result, Result) else None

    def rest(self, process: Started) -> None:
        """Leaves a process that waits as it is, unless too many do."""
        self.resting[process] = self.processes.pop(process)
        if len(self.resting) > MOST_RESTING:
            self.resume()

    def resume(self) -> None:
        """Has the process that has rested for longest go on."""
        process, in_hand = next(iter(self.resting.items()))
        del self.resting[process]
        in_hand.heard = time.monotonic()
        self.processes[process] = in_hand
        if in_hand.attempt.go is not None:
            with suppress(OSError):  # it has ended, and the queue will say so
                in_hand.attempt.go.send_bytes(b"\n")

    def patience_s(self) -> float | None:
        """Seconds until the process that has been silent for longest is late."""
        if self.timeout_s is None:
            return None
        return max(0.0, min(one.heard for one in self.processes.values()) + self.timeout_s - time.monotonic())

    def ended(self, process: Started, result: Result) -> None:
        """Goes on with the work whose process has ended in this way."""
        in_hand = self.processes.pop(process)
        process.end()
        if result.status == UNFIT:  # a spawned one takes its place
            self.start(in_hand.work, replace(in_hand.attempt, imported=()))
        else:
            self.go_on(in_hand.work, result)
