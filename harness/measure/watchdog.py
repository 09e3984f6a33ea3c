"""How long a person's code has kept the command's process: told by a thread in it, and judged outside.

A file may loop, sleep or wait for a terminal while it is imported, or whenever its functions are called. The
thread looks once a second where the first thread is; the supervisor, which such code cannot hold up, counts.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from types import FrameType
from typing import Any

VARIABLE = "CELLBENCH_PATIENCE_S"
PATIENCE_S = 60.0  # in which a person's code must come back
NOTE_S = 10  # after which a person is told
TICK_S = 1.0
GRACE_S = 3  # between asking code to end, and ending it
Beat = Callable[[int, str], object]
Tell = Callable[[str], object]
_sleep = time.sleep  # a file may replace it


def patience_s() -> float:
    """Seconds from the environment, else 60. Raises ValueError for what is no positive number."""
    text = os.environ.get(VARIABLE)
    if text is None:
        return PATIENCE_S
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise ValueError(f"{VARIABLE} is {text!r}; it must be a positive number of seconds, or be unset")
    return seconds


def start(beat: Beat, supervisor: str) -> None:
    """Begins to look; beat gets for how many seconds the same code has run, and which.

    supervisor is the file whose function runs the command.
    """
    arguments = (beat, threading.main_thread().ident, supervisor)
    threading.Thread(target=_watch, args=arguments, daemon=True).start()


def _watch(beat: Beat, first: int | None, supervisor: str) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # they are the first thread's
    before: Any = None
    seconds = 0
    while True:
        _sleep(TICK_S)
        now, text = _running(sys._current_frames().get(first or 0), supervisor)
        seconds = seconds + 1 if now is not None and now is before else 0
        before = now  # kept, so that no other call gets its place in memory
        beat(seconds, text)


def _running(frame: FrameType | None, supervisor: str) -> tuple[Any, str]:
    """The import or the call of a person's function that the thread is in, and its place; None in none.

    What called the supervisor, a file, is looked at no more: a person may have a program that calls `main`.
    """
    from cellbench.cells import foreign  # here: most commands run nobody's code, and are to start at once

    outermost = innermost = None
    while frame is not None and frame.f_code.co_filename != supervisor:
        if _is_a_persons(frame.f_code.co_filename, len(foreign.TAKEN)):
            outermost, innermost = frame, innermost or frame
        frame = frame.f_back
    if foreign.PATIENT:
        return None, ""
    place = f"{Path(innermost.f_code.co_filename).name}:{innermost.f_lineno}" if innermost is not None else ""
    if foreign.IMPORTS:
        what = foreign.IMPORTS[-1]
        return what, f"the import of {what}{f' ({place})' if place else ''}"
    return outermost, place


@lru_cache(maxsize=4096)
def _is_a_persons(filename: str, folders: int) -> bool:
    """`folders` is how many there are: the answer may be another with one more."""
    from cellbench.cells import foreign
    from cellbench.cells.surroundings import is_own

    return filename.startswith(tuple(foreign.TAKEN)) and is_own(filename)


class Patience:
    """The supervisor's side: tells a person once, then ends the process that does not come back."""

    def __init__(self, end: Callable[[int], object], tell: Tell) -> None:
        self.end, self.tell = end, tell
        try:
            self.limit_s = patience_s()
        except ValueError:  # the command says so
            self.limit_s = PATIENCE_S
        self.beats = self.silent = 0
        self.noted = False
        self.overdue = ""
        self._left = GRACE_S

    def tick(self, beats: int, seconds: int, text: str, in_hand: str) -> None:
        """Once a second: what the thread told last. One that is silent may be held up by the same code."""
        if self.overdue:
            self._left -= 1
            if self._left <= 0:
                self.end(signal.SIGKILL)
            return
        self.silent = self.silent + 1 if beats == self.beats and in_hand else 0
        self.beats = beats
        stuck = seconds + self.silent
        what = text if seconds and text else in_hand
        if stuck < NOTE_S and stuck < self.limit_s:
            self.noted = False
        elif stuck >= self.limit_s:
            self.overdue = (
                f"{what} did not come back within {self.limit_s:g} s, and was ended; "
                f"{VARIABLE}=SECONDS allows more"
            )
            self.tell(self.overdue)
            self.end(signal.SIGTERM)
        elif not self.noted:
            self.noted = True
            self.tell(f"{what} takes longer than {stuck} s; it is ended after {self.limit_s:g} s")
