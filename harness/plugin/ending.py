"""pytest ends by its own last line: code that a test runs cannot end it earlier and look well.

Only the standard library is imported here, for pytest loads this with every session.
"""

from __future__ import annotations

import atexit
import mmap
import os
import signal
import struct
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from . import c_library, trap

HEAD = struct.Struct("=?i")  # whether pytest came to its end, its exit code
EXECUTE = ("execv", "execve")  # by which the others of os are made
FORWARDED = (signal.SIGTERM, signal.SIGHUP)
PROGRAMS = ("pytest", "py.test")
PROCESS = [os.getpid()]  # the one that runs pytest: a child once `guarded` has forked
# that began in this process, the outermost; kept with the interpreter, for pytest's own tests import us anew
SESSIONS: list[Any] = vars(sys).setdefault("_cellbench_sessions", [])
_leave = os._exit


class EndedProcess(BaseException):
    """A test, or what it runs, called what would have ended pytest: no Exception, so that it is not
    swallowed, and no SystemExit, at which pytest stops to collect.
    """


@contextmanager
def staying() -> Iterator[None]:
    """In this process os._exit(0) and os.exec raise EndedProcess; a child that was forked has them as ever.

    So do those of the C library, as ctypes finds them. Another exit code than 0 ends pytest, which is red.
    """
    PROCESS[:] = [os.getpid()]
    kept = {name: getattr(os, name) for name in ("_exit", *EXECUTE)}

    def leave(status: int) -> Any:
        if os.getpid() in PROCESS and not status & 0xFF:
            raise EndedProcess(f"os._exit({status}) would have ended pytest")
        kept["_exit"](status)

    def refused(name: str) -> Callable[..., Any]:
        def execute(path: Any, *arguments: Any) -> Any:
            if os.getpid() in PROCESS:
                what = f"os.{name}({os.fsdecode(path)!r})"
                raise EndedProcess(f"{what} would have put another program in pytest's place")
            return kept[name](path, *arguments)

        return execute

    def refuse(what: str) -> None:
        if os.getpid() in PROCESS:
            raise EndedProcess(f"{what} would have ended pytest")

    register, unregister = atexit.register, atexit.unregister
    handlers: dict[Any, Callable[[], Any]] = {}

    def register_staying(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Callable[..., Any]:
        def handler() -> None:
            with staying():
                function(*args, **kwargs)

        handlers[function] = handler
        register(handler)
        return function

    os._exit = leave
    for name in EXECUTE:
        setattr(os, name, refused(name))
    atexit.register = register_staying
    atexit.unregister = lambda function: unregister(handlers.pop(function, function))
    try:
        with c_library.refusing(refuse):
            yield
    finally:
        for name, function in kept.items():
            setattr(os, name, function)
        atexit.register = register


@contextmanager
def begun(config: pytest.Config) -> Iterator[None]:
    """Remembers the session of this process: a test may run pytest in it again."""
    if SESSIONS:
        yield
        return
    alone, disarm = is_program(), trap.armed()
    SESSIONS.append(config)
    try:
        yield
    finally:
        SESSIONS.clear()
        if not alone:  # what called pytest may end as it likes; else the trap stays until Python's end
            disarm()


def is_program() -> bool:
    """Whether this process is pytest's program, and runs no session yet."""
    program = Path(sys.argv[0])
    is_pytest = program.name in PROGRAMS or program.parts[-2:] == ("pytest", "__main__.py")
    return is_pytest and not SESSIONS


def left(error: SystemExit | EndedProcess) -> pytest.UsageError:
    """What a conftest.py did that ended the interpreter, as pytest tells it."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename != __file__]
    how = f"sys.exit({'' if error.code is None else error.code})" if isinstance(error, SystemExit) else error
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}"
    return pytest.UsageError(f"a conftest.py ends the interpreter: {how} ({place})")


def guarded(tell: Callable[[str], object]) -> Callable[[int], None]:
    """Goes on in a child process; this one waits for it, and ends by the code that the child says at its end.

    Returns what says it. So `_exit` of the C library is no success: the child had not said a code. Where
    there are other threads nothing is forked, and a line says so.
    """
    if threading.active_count() > 1:
        tell("cellbench: a plugin has begun a thread, so code that ends pytest by _exit of C stays unseen")
        return lambda code: None
    memory, parent = mmap.mmap(-1, HEAD.size), os.getpid()
    child = os.fork()
    if child:
        _wait(child, memory, tell)
    from ..measure import keeper

    keeper.end_with(parent)
    PROCESS[:] = [os.getpid()]

    def end(code: int) -> None:
        memory[:] = HEAD.pack(True, code)

    return end


def _wait(child: int, memory: mmap.mmap, tell: Callable[[str], object]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to the child too
    for number in FORWARDED:
        signal.signal(number, lambda number, _: _pass_on(child, number))
    _, status = os.waitpid(child, 0)
    done, code = HEAD.unpack(memory[:])
    how = os.waitstatus_to_exitcode(status)
    if how < 0:
        code = 128 - how
    elif how or not done:
        code = how or 1
    if not how and not done:
        tell("cellbench: pytest ended with exit code 0 before its last line: code that a test ran ended it")
    _leave(code & 0xFF)


def _pass_on(child: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(child, number)
