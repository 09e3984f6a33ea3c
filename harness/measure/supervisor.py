"""A command works in a child of the process that a person started, which alone decides on the exit code.

Code of a person's may end its process with exit code 0 in ways that nothing inside can catch: `exit` of the C
library, `os.execv`, a signal. So 0 is the answer only where the work has said so, in memory that both share,
after its last line. A keeper stands between the two; what the work started ends with it.
"""

from __future__ import annotations

import atexit
import math
import mmap
import os
import signal
import struct
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NoReturn

from . import keeper, watchdog

FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
WATCHED = (*FORWARDED, signal.SIGCHLD, signal.SIGUSR1)
GRACE_S = 5.0  # in which a thread that a person's code left must end after the work
LONGEST_S = 30.0  # in which the process must, with all that is to be called at its end
SOON_S = 0.01
HEAD = struct.Struct("=iiQ")  # the work's process, its exit code, a word
BEAT = struct.Struct("=QQ")  # how often its watchdog looked, the seconds that the same code has run
DONE = 0x63656C6C62656E63  # the word
TEXT = 1000  # bytes of a text
TEXTS = HEAD.size + BEAT.size  # where they begin
Tell = Callable[[str], object]


@dataclass(frozen=True)
class Shared:
    """What the work tells its supervisor, in memory that no descriptor leads to."""

    memory: mmap.mmap
    supervisor: int
    starts: list[bool] = field(default_factory=list)

    @classmethod
    def new(cls) -> Shared:
        """To be made in the supervisor's process."""
        return cls(mmap.mmap(-1, TEXTS + 4 * TEXT + 1), os.getpid())

    def begin(self) -> None:
        """Names the process that works."""
        self.memory[: HEAD.size] = HEAD.pack(os.getpid(), 0, 0)

    def end(self, code: int) -> None:
        """Says that the work has come to its end, with this exit code."""
        self.memory[: HEAD.size] = HEAD.pack(os.getpid(), code, DONE)

    def hand(self, name: str, patient: bool) -> None:
        """Names the code of a person's that runs now; nothing where it has returned.

        It is watched from then on, but for what may take as long as it likes.
        """
        self.memory[-1] = patient
        self._put(0, name)
        if name and not patient and not self.starts:
            self.starts.append(True)
            self._beat(1, 0)
            watchdog.start(self.beat, _leave.__code__.co_filename)
            self.call()

    def beat(self, seconds: int, text: str) -> None:
        """What the watchdog saw."""
        self._put(2, text)
        self._beat(self.beats[0] + 1, seconds)

    def leave(self, line: str) -> None:
        """A line that the work could not write, for the supervisor to tell."""
        self._put(1, line)

    def say_overdue(self, line: str) -> None:
        """Why the work is ended, by the supervisor."""
        self._put(3, line)

    def call(self) -> None:
        """Has the supervisor look at what was told."""
        with suppress(ProcessLookupError):
            os.kill(self.supervisor, signal.SIGUSR1)

    def _beat(self, beats: int, seconds: int) -> None:
        self.memory[HEAD.size : TEXTS] = BEAT.pack(beats, seconds)

    def _put(self, slot: int, text: str) -> None:
        at = TEXTS + slot * TEXT
        self.memory[at : at + TEXT] = text.encode(errors="backslashreplace")[:TEXT].ljust(TEXT, b"\0")

    def _text(self, slot: int) -> str:
        at = TEXTS + slot * TEXT
        return self.memory[at : at + TEXT].rstrip(b"\0").decode(errors="replace")

    @property
    def beats(self) -> tuple[int, int]:
        """How often the watchdog looked, 0 before it began, and the seconds that the same code has run."""
        return BEAT.unpack(self.memory[HEAD.size : TEXTS])

    @property
    def process(self) -> int:
        return HEAD.unpack(self.memory[: HEAD.size])[0]

    @property
    def code(self) -> int | None:
        """The exit code, None until the work has come to its end."""
        _, code, word = HEAD.unpack(self.memory[: HEAD.size])
        return code if word == DONE else None

    @property
    def in_hand(self) -> str:
        return self._text(0)

    @property
    def patient(self) -> bool:
        return bool(self.memory[-1])

    @property
    def left(self) -> str:
        return self._text(1)

    @property
    def running(self) -> str:
        return self._text(2)

    @property
    def overdue(self) -> str:
        return self._text(3)


def supervised(work: Callable[[Shared], int], tell: Tell) -> int:
    """Returns work's exit code in a child process; this process waits for it, and never returns.

    tell prints a line. The work runs here where there are other threads, or on a system without what this
    takes.
    """
    shared, parent = Shared.new(), os.getpid()
    if threading.active_count() > 1 or not hasattr(signal, "sigtimedwait"):
        return work(shared)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    keeper.adopt()  # what a keeper that was killed leaves comes here
    child = os.fork()
    if child:
        _supervise(child, shared, tell)
    keeper.stay_behind(parent, patient=True)
    shared.begin()
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    try:
        code = work(shared)
    except BaseException:  # which ends the process with its traceback
        shared.end(1)
        raise
    shared.end(code)
    shared.call()
    _wait_for_threads(code, tell)
    if shared.starts:
        _leave(code)
    return code


def _leave(code: int) -> NoReturn:
    """Ends this process without taking the interpreter apart, which a thread of a person's code may still
    use; what is to be called at the exit is called.
    """
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(code)


def _wait_for_threads(code: int, tell: Tell) -> None:
    """Ends this process where a thread of a person's code does not: the interpreter would wait for it."""
    until = time.monotonic() + GRACE_S
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join(max(0.0, until - time.monotonic()))
            if thread.is_alive():
                tell("a thread of code that it ran went on after the end; it is ended")
                os._exit(code)


def _supervise(child: int, shared: Shared, tell: Tell) -> NoReturn:
    until = math.inf  # when a process must have ended whose work is done
    early: list[int] = []  # signals that came before the work could take any
    patience = watchdog.Patience(lambda number: _end(shared, patience.overdue, number), tell)
    ticked_s = time.monotonic()
    while True:
        ticks = shared.beats[0] and shared.code is None
        left = SOON_S if early else watchdog.TICK_S if ticks else 3600.0
        came = signal.sigtimedwait(WATCHED, max(0.0, min(left, until - time.monotonic())))
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        if came is not None and (came.si_signo in FORWARDED or _is_foreign(came, shared.process)):
            early.append(came.si_signo)
        if shared.process:
            while early:
                _pass_on(shared.process, early.pop(0))
        now_s = time.monotonic()
        if now_s >= until:
            tell("what it ran did not end after its work; it is ended")
            _pass_on(shared.process, signal.SIGKILL)
            until = math.inf
        elif shared.code is not None and until == math.inf:
            until = now_s + min(LONGEST_S, patience.limit_s)
        elif ticks and now_s >= ticked_s + watchdog.TICK_S:
            ticked_s = now_s  # however long ago the last was: all of us may have been stopped meanwhile
            patience.tick(*shared.beats, shared.running, "" if shared.patient else shared.in_hand)
    keeper.end_all()
    code = _exit_code(status, shared, tell)
    os._exit(code & 0xFF)


def _end(shared: Shared, overdue: str, number: int) -> None:
    shared.say_overdue(overdue)
    _pass_on(shared.process, number)


def _is_foreign(came: Any, work: int) -> bool:
    """Whether SIGUSR1 is a scheduler's: the work sends it too, as its last word."""
    return came.si_signo == signal.SIGUSR1 and came.si_pid != work


def _pass_on(process: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, number)


def _exit_code(status: int, shared: Shared, tell: Tell) -> int:
    """That of the work where it came to its end. No other end is a success."""
    if shared.left:
        tell(shared.left)
    if shared.overdue:
        return shared.code or 1
    if shared.code is not None:
        return shared.code
    code = os.waitstatus_to_exitcode(status)
    if -code in FORWARDED:
        tell("interrupted")
        return 128 - code
    if code < 0:
        how = f"was ended by {signal.Signals(-code).name}"
        if code == -signal.SIGKILL and not shared.in_hand:
            how += ", perhaps by the kernel for lack of memory"
    else:
        how = f"ended with exit code {code} before its work was done"
    tell(f"the process of this command {how}{_of(shared)}")
    return 1


def _of(shared: Shared) -> str:
    return f", in {shared.in_hand}" if shared.in_hand else ""
