"""A process that stands between a command and its work, so that nothing of the work outlives either.

The work may start processes of its own, in other sessions and groups too. Linux hands every one whose parent
has ended to the nearest process above it that asked for them (a subreaper). That is the keeper: it waits for
the work, or for the command to end, and then ends all that is below it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    import psutil

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # of Linux' prctl
PATIENCE_S = 5.0  # in which what was killed must be gone; a process that waits for a device may not be


def stay_behind(parent: int | None, *held: int, patient: bool = False) -> None:
    """Returns in a child process, which is to do the work; this process becomes its keeper and never returns.

    The keeper ends as the work does, by the same exit code or signal. `parent` is the process whose end ends
    the work, `held` are descriptors that the work alone may hold. A patient keeper leaves SIGTERM, SIGHUP and
    SIGINT to the work for as long as there is the parent; another ends the work at SIGTERM. To be called
    before there are threads.
    """
    keeper = os.getpid()
    # what comes before the handler is there waits
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    adopt()
    work = os.fork()
    if work:
        for descriptor in held:
            os.close(descriptor)
        _keep(work, parent, patient)
    end_with(keeper)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_with(parent: int) -> None:
    """Has this process killed when its parent ends."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before it was asked for
        os.kill(os.getpid(), signal.SIGKILL)


def adopt() -> None:
    """Has every process below this one handed to it whose parent has ended."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def _keep(work: int, parent: int | None, patient: bool) -> NoReturn:
    def end(*_: object) -> None:
        if patient and os.getppid() == parent:
            return
        with suppress(ProcessLookupError):
            os.kill(work, signal.SIGKILL)

    if patient:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, end)
    _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    if parent is not None and os.getppid() != parent:
        end()
    status = _wait_for(work)
    end_all()
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        with suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_DFL)
        _prctl(4, 0)  # PR_SET_DUMPABLE: the work has left its core already
        os.kill(os.getpid(), number)
    os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def _wait_for(work: int) -> int:
    """The status of the work. Other children are those that it left; they are reaped."""
    while True:
        try:
            child, status = os.wait()
        except ChildProcessError:  # somebody's handler of SIGCHLD, inherited, reaps for us
            return 0
        if child == work:
            return status


def end_all() -> None:
    """Kills all below this process, and what they leave, until there is none."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        for process in _below():
            with suppress(Exception):  # it has ended meanwhile
                process.kill()
        time.sleep(0.005)


def _below() -> list[psutil.Process]:
    import psutil  # here: most commands leave nothing behind, and are to start at once

    with suppress(psutil.Error, OSError):
        return psutil.Process().children(recursive=True)
    return []


def _prctl(option: int, value: int) -> None:
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
