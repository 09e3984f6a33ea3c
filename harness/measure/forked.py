"""Fresh processes that need not start anew: a server imports libraries once, and forks for each.

The server is Python's own. A forked process takes 50 ms where a spawned one, which imports the backends,
takes 2 s. It is as a spawned one would be, or it says why not, and a spawned one takes its place. All forked
processes share one layout of memory, which moves timings: what compares times is spawned.
"""

from __future__ import annotations

import multiprocessing
import os
import stat
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext

import psutil

# variables that pytest sets anew for each test, and those that readline sets behind Python's back
PASSED_OVER = ("PYTEST_", "COLUMNS", "LINES")
_ANSWERED = threading.Event()


class Unfit(Exception):
    """A forked process is not as a spawned one would be."""


def context(modules: Sequence[str]) -> ForkServerContext:
    """Starts processes by forking one that has imported these modules, or the server that runs already."""
    forking = multiprocessing.get_context("forkserver")
    forking.set_forkserver_preload([__name__, *modules])
    return forking


def begin(modules: Sequence[str]) -> None:
    """Starts the server where none runs; no process waits for it."""
    context(modules)
    with suppress(OSError):  # the process that needs it says so
        forkserver.ensure_running()


def answered() -> None:
    """Says that a forked process did its work, so that the server has imported all that it imports."""
    _ANSWERED.set()


def has_answered() -> bool:
    """Whether a process is forked at once, and waits for no import."""
    return _ANSWERED.is_set()


@dataclass(frozen=True)
class Surroundings:
    """What a spawned process would get from its parent, and a forked one has from the server instead."""

    variables: dict[str, str]
    files: tuple[tuple[int, int, int], ...]

    @classmethod
    def here(cls) -> Surroundings:
        """Those of this process: its variables, and what its standard output and error are."""
        variables = {k: v for k, v in os.environ.items() if not k.startswith(PASSED_OVER)}
        return cls(variables, tuple(map(_identity, (1, 2))))


def server(expected: Surroundings) -> int:
    """Number of the process that this one was forked from, which must not end before it.

    Raises Unfit where a process spawned in these surroundings would be another. What this process holds of
    the server is let go first.
    """
    if not _let_go():
        raise Unfit("this Python's fork server cannot be told apart from its processes")
    pid, command = os.getppid(), multiprocessing.parent_process()
    try:
        if command is None or psutil.Process(pid).ppid() != command.pid:
            raise Unfit("the fork server has ended")
        if psutil.Process(pid).num_threads() > 1:
            raise Unfit("the fork server has threads, whose locks may be held")
    except (psutil.Error, OSError) as error:
        raise Unfit(f"the fork server cannot be looked at: {error}") from error
    if expected != STARTED:
        raise Unfit("variables or outputs have changed since the fork server started")
    return pid


def _let_go() -> bool:
    """Closes the pipe that keeps the server alive, which is the command's alone to hold."""
    server = getattr(forkserver, "_forkserver", None)
    held = getattr(server, "_forkserver_alive_fd", None)
    if held is None:
        return False
    os.close(held)
    return True


def _identity(descriptor: int) -> tuple[int, int, int]:
    try:
        status = os.fstat(descriptor)
    except OSError:  # closed
        return (-1, -1, -1)
    return (stat.S_IFMT(status.st_mode), status.st_dev, status.st_ino)


STARTED = Surroundings.here()  # in the server, before it imports more, which may set variables
