"""Somebody's own code runs in this process: it cannot end it, and what it changes for everyone is put back.

A cell, a task, a probe or a checked function is a file of a person's. It may call `sys.exit`, close standard
output, change the directory or replace a clock. None of that may look like a command that ended well.
"""

from __future__ import annotations

import fcntl
import os
import resource
import sys
import sysconfig
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

CLOCKS = tuple(
    name + unit
    for name in ("time", "monotonic", "perf_counter", "process_time", "thread_time")
    for unit in ("", "_ns")
)
STREAMS = {1: "standard output", 2: "standard error"}
KEPT_ABOVE = 1000  # copies of the streams: above what os.closerange is given, below the usual limit of 1024
PACKAGES = tuple(os.path.realpath(Path(__file__).parent.with_name(n)) + os.sep for n in ("cells", "harness"))
INSTALLED = tuple(
    os.path.realpath(path) + os.sep
    for name, path in sysconfig.get_paths().items()
    if name in ("stdlib", "platstdlib", "purelib", "platlib")
)


class EndedProcess(SystemExit):
    """os._exit was called: SystemExit, so that `except Exception` of the caller does not swallow it."""


class ForeignError(ValueError):
    """Somebody's code ended the interpreter, or changed what is not its own; the message says where."""


@contextmanager
def guarded(what: str) -> Iterator[None]:
    """Runs somebody's code; `what` names it, as its file does. An Exception of it is passed on.

    Raises ForeignError where it ends the interpreter in any way that can be caught, and where it leaves
    another working directory, another clock or a closed standard stream behind. They are put back.
    """
    before = _Surroundings()
    try:
        yield
    except (Exception, KeyboardInterrupt):
        before.restore()
        raise
    except BaseException as error:
        before.restore()
        raise ForeignError(f"{what} {ending(error)}") from error
    if changes := before.restore():
        raise ForeignError(f"{what} {' and '.join(changes)}; take that out, for all of this process has it")


@contextmanager
def staying(for_good: bool = False) -> Iterator[None]:
    """os._exit raises EndedProcess in this process; a child that was forked is left through it as ever.

    Nothing else could tell the exit code of such an end from that of a command which did its work. `for_good`
    is for a process that ends after it: what is to be called at its end may call os._exit too.
    """
    leave, process = os._exit, os.getpid()

    def refuse(status: int) -> NoReturn:
        if os.getpid() != process:
            leave(status)
        raise EndedProcess(f"os._exit({status})")

    os._exit = refuse
    try:
        yield
    finally:
        if not for_good:
            os._exit = leave


def ending(error: BaseException) -> str:
    """What an exception that is no Exception did, and where: 'ends the interpreter: sys.exit(0) (a.py:3)'."""
    if isinstance(error, EndedProcess):
        said = f"ends the interpreter: {error}"
    elif isinstance(error, SystemExit):
        said = f"ends the interpreter: sys.exit({'' if error.code is None else error.code})"
    else:
        said = f"raises {type(error).__name__}: {error}"
    return " ".join(f"{said[:400]}{place(error)}".split())


def place(error: BaseException) -> str:
    """' (file.py:7)': the last line of somebody's own that an exception went through, else the last line."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if is_own(f.filename)]
    return "".join(f" ({Path(f.filename).name}:{f.lineno})" for f in (own or frames)[-1:])


def is_own(filename: str) -> bool:
    """Whether a file of code is a person's: it is neither of this project nor installed."""
    path = Path(filename)
    return path.is_absolute() and not os.path.realpath(path).startswith((*PACKAGES, *INSTALLED))


class _Surroundings:
    """What all code of a process shares, as it was when this was made."""

    def __init__(self) -> None:
        self.folder = _folder()
        self.clocks = {name: getattr(time, name) for name in CLOCKS}
        self.streams = sys.stdout, sys.stderr
        self.copies = {number: _copy(number) for number in STREAMS}

    def restore(self) -> list[str]:
        """Puts it back; says what was not as before."""
        changes = []
        if self.folder and _folder() != self.folder:
            with suppress(OSError):
                os.chdir(self.folder)
            changes.append("changes the working directory")
        for name, clock in self.clocks.items():
            if getattr(time, name) is not clock:
                setattr(time, name, clock)
                changes.append(f"replaces time.{name}")
        for number, copy in self.copies.items():
            if copy is None:
                continue
            if not _same(number, copy):
                with suppress(OSError):
                    os.dup2(copy, number)
                changes.append(f"closes or replaces {STREAMS[number]}")
            with suppress(OSError):
                os.close(copy)
        sys.stdout, sys.stderr = self.streams
        return changes


def _folder() -> str | None:
    try:
        return str(Path.cwd())
    except OSError:  # it was deleted
        return None


def _copy(number: int) -> int | None:
    """A copy of a descriptor with a high number, or None of one that is closed."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    above = KEPT_ABOVE if limit == resource.RLIM_INFINITY or limit > KEPT_ABOVE + 16 else 3
    try:
        return fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, above)
    except OSError:
        return None


def _same(number: int, copy: int) -> bool:
    try:
        return os.path.sameopenfile(number, copy)
    except OSError:
        return False
