"""Processes that are spawned ahead of their work: they import side by side, and each waits for its turn."""

from __future__ import annotations

import multiprocessing
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any

from .started import Message, Started


class Ahead:
    """So many processes, each of which calls prepare(*args) and then waits.

    Those that are ready wait idle, so that nothing disturbs what one of them times. One that is not ready in
    timeout_s is ended, and a new one spawned when its turn comes.
    """

    def __init__(
        self,
        count: int,
        prepare: Callable[..., None],
        args: tuple,
        threads: int = 1,
        limit_memory: bool = True,
        timeout_s: float = 300.0,
    ) -> None:
        self._timeout_s = timeout_s
        self._queue: SimpleQueue[tuple[Started, bytes | None]] = SimpleQueue()
        self._waiting: deque[tuple[Started, Connection]] = deque()
        for _ in range(count):
            receiving, sending = multiprocessing.get_context("spawn").Pipe(duplex=False)
            work = (receiving, prepare, args)
            self._waiting.append((Started(_await, work, self._queue, threads, limit_memory), sending))
            receiving.close()

    def __enter__(self) -> Ahead:
        """Waits until all are ready; those that are not, and those that broke, are ended."""
        ready, until = set(), time.monotonic() + self._timeout_s
        waiting = {process for process, _ in self._waiting}
        while waiting:
            try:
                process, message = self._queue.get(timeout=max(0.0, until - time.monotonic()))
            except Empty:
                break
            if isinstance(process.told(message), Message):
                ready.add(process)
            waiting.discard(process)
        for process, sending in [one for one in self._waiting if one[0] not in ready]:
            self._waiting.remove((process, sending))
            _end(process, sending)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._waiting:
            _end(*self._waiting.popleft())

    @property
    def waits(self) -> bool:
        """Whether a process is left."""
        return bool(self._waiting)

    def given(
        self,
        function: Callable[..., Any],
        args: tuple,
        queue: SimpleQueue[tuple[Started, bytes | None]],
    ) -> Started | None:
        """A process that does function(emit, *args) from now on; None where none is left."""
        if not self._waiting:
            return None
        process, sending = self._waiting.popleft()
        process.queue = queue
        with suppress(OSError):  # it has ended, and the queue will say so
            sending.send((function, args))
        sending.close()
        return process


def _await(
    emit: Callable[[Any], None], receiving: Connection, prepare: Callable[..., None], args: tuple
) -> Any:
    """Runs in the worker."""
    prepare(*args)
    emit(None)
    function, given = receiving.recv()
    return function(emit, *given)


def _end(process: Started, sending: Connection) -> None:
    sending.close()
    process.end()
