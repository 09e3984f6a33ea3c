"""What all code of a process shares, remembered before a person's code runs, and put back after it."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import signal
import sys
import sysconfig
import time
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from . import settings

CLOCKS = tuple(
    name + unit
    for name in ("time", "monotonic", "perf_counter", "process_time", "thread_time")
    for unit in ("", "_ns")
)
STREAMS = {0: "standard input", 1: "standard output", 2: "standard error"}
KEPT_ABOVE = 1000  # copies of the streams: above what os.closerange is given, below the usual limit of 1024
# modules whose functions what is measured is held against, and printed with; the project's own are too
SHARED = ("builtins", "math", "cmath", "os", "posix", "io", "json", "numpy", "numpy.linalg", "numpy.testing")
# that replace functions of their own while they are used: only a person's function in their place is told
SELF_CHANGING = ("torch", "torch.nn.functional", "torch.linalg")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PROJECT = "cellbench."
PACKAGES = tuple(os.path.realpath(Path(__file__).parent.with_name(n)) + os.sep for n in ("cells", "harness"))
INSTALLED = tuple(
    os.path.realpath(path) + os.sep
    for name, path in sysconfig.get_paths().items()
    if name in ("stdlib", "platstdlib", "purelib", "platlib")
)


def is_own(filename: str) -> bool:
    """Whether a file of code is a person's: it is neither of this project nor installed."""
    path = Path(filename)
    return path.is_absolute() and not os.path.realpath(path).startswith((*PACKAGES, *INSTALLED))


class Surroundings:
    """What all code of a process shares, as it was when this was made."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.folder = _folder()
        self.clocks = {name: getattr(time, name) for name in CLOCKS}
        self.functions = {module: dict(_functions(module)) for module in _modules()}
        self.streams = sys.stdout, sys.stderr
        self.copies = {number: _copy(number) for number in STREAMS}
        self.tracing = sys.gettrace(), sys.getprofile()
        self.handlers = {number: signal.getsignal(number) for number in SIGNALS}
        self.warned = list(warnings.filters)
        self.hooks, self.path = (sys.argv, sys.excepthook), list(sys.path)
        self.settings = settings.values()

    def restore(self) -> list[str]:
        """Puts it back; says what was not as before, but for what does no harm once it is put back."""
        changes = [
            *self._folder(),
            *self._clocks(),
            *self._functions(),
            *self._tracing(),
            *self._descriptors(),
        ]
        sys.stdout, sys.stderr = self.streams
        sys.argv, sys.excepthook = self.hooks
        if not set(self.path) <= set(sys.path):  # one that was added stays: its file may import from there
            sys.path[:] = [p for p in sys.path if p not in self.path] + self.path
        with suppress(ValueError):  # another thread than the first may set none
            for number, handler in self.handlers.items():
                if handler is not None and signal.getsignal(number) is not handler:
                    signal.signal(number, handler)
            signal.setitimer(signal.ITIMER_REAL, 0)
        # others than "error" are those of libraries that were imported meanwhile
        warnings.filters[:] = [f for f in warnings.filters if f[0] != "error" or f in self.warned]  # type: ignore[index]
        settings.put_back(self.settings)
        return changes

    def _folder(self) -> Iterator[str]:
        if self.folder and _folder() != self.folder:
            with suppress(OSError):
                os.chdir(self.folder)
            yield "changes the working directory"

    def _clocks(self) -> Iterator[str]:
        for name, clock in self.clocks.items():
            if getattr(time, name, None) is not clock:
                setattr(time, name, clock)
                yield f"replaces time.{name}"

    def _functions(self) -> Iterator[str]:
        for module, before in self.functions.items():
            now = vars(module)
            for name, value in before.items():
                other = now.get(name)
                if other is not value and (module.__name__ not in SELF_CHANGING or _is_a_persons(other)):
                    setattr(module, name, value)
                    yield f"replaces {module.__name__}.{name}"

    def _tracing(self) -> Iterator[str]:
        trace, profile = self.tracing
        if sys.gettrace() is not trace:
            sys.settrace(trace)
            yield "sets a function that traces every line (sys.settrace)"
        if sys.getprofile() is not profile:
            sys.setprofile(profile)
            yield "sets a function that sees every call (sys.setprofile)"

    def _descriptors(self) -> Iterator[str]:
        for number, copy in self.copies.items():
            if copy is None:
                continue
            if not _same(number, copy) and not self._given_up(number):
                with suppress(OSError):
                    os.dup2(copy, number)
                yield f"closes or replaces {STREAMS[number]}"
            with suppress(OSError):
                os.close(copy)

    def _given_up(self, number: int) -> bool:
        """Whether a stream has led its descriptor nowhere: its reader is gone, or its disk full."""
        error = getattr(self.streams[number - 1], "error", None) if number else None  # a Screen's
        return isinstance(error, OSError) and error.errno != errno.EBADF  # which a person's close is


def _modules() -> list[ModuleType]:
    """The modules whose functions are remembered, as far as they are loaded."""
    named = [sys.modules.get(name) for name in (*SHARED, *SELF_CHANGING)]
    own = [module for name, module in sys.modules.items() if name.startswith(PROJECT) and "._" not in name]
    return [module for module in (*named, *own) if isinstance(module, ModuleType)]


def _functions(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """Functions and classes; a project's module has nothing else that is fixed."""
    for name, value in vars(module).items():
        if callable(value) and not (module.__name__.startswith(PROJECT) and not _is_fixed(value)):
            yield name, value


def _is_fixed(value: Any) -> bool:
    return isinstance(value, FunctionType | type)


def _is_a_persons(value: Any) -> bool:
    code = getattr(value, "__code__", None)
    return code is not None and is_own(code.co_filename)


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
