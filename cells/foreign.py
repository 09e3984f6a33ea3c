"""Somebody's own code runs in this process: it cannot end it, and what it changes for everyone is put back.

A cell, a task, a probe or a checked function is a file of a person's. It may call `sys.exit`, close standard
output, change the directory or replace a clock. None of that may look like a command that ended well.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from .surroundings import Surroundings, is_own

IN_HAND: list[str] = []  # the code of a person's that runs, the innermost last
IMPORTS: list[str] = []  # those files among it that are being imported
TAKEN: set[str] = set()  # folders of the files that were imported by their paths, each with its separator
PATIENT: list[str] = []  # code that may take as long as it likes
_leave = os._exit


def in_hand(name: str, patient: bool) -> None:
    """Told the name of the code of a person's that runs now, "" where none does; a command sets its own.

    `patient`: it may take as long as it likes.
    """


class EndedProcess(SystemExit):
    """os._exit was called: SystemExit, so that `except Exception` of the caller does not swallow it."""


class ForeignError(ValueError):
    """Somebody's code ended the interpreter, or changed what is not its own; the message says where."""


@contextmanager
def guarded(what: str) -> Iterator[None]:
    """Runs somebody's code; `what` names it, as its file does. An Exception of it is passed on.

    Raises ForeignError where it ends the interpreter in any way that can be caught, and where it leaves
    another working directory, clock or function of a shared module, a tracer or a closed standard stream
    behind. They are put back.
    """
    before = Surroundings()
    IN_HAND.append(what)
    _tell()
    try:
        yield
    except (Exception, KeyboardInterrupt):
        before.restore()
        raise
    except BaseException as error:
        before.restore()
        raise ForeignError(f"{what} {ending(error)}") from error
    finally:
        if os.getpid() != before.process:
            _leave(0)  # a copy of this process, forked in there: one goes on, which is the first
        IN_HAND.pop()
        _tell()
    if changes := before.restore():
        raise ForeignError(f"{what} {' and '.join(changes)}; take that out, for all of this process has it")


@contextmanager
def patiently(what: str) -> Iterator[None]:
    """Code runs that may take long: it measures, or is installed."""
    PATIENT.append(what)
    _tell()
    try:
        yield
    finally:
        PATIENT.pop()
        _tell()


def _tell() -> None:
    in_hand(IN_HAND[-1] if IN_HAND else "", bool(PATIENT))


@contextmanager
def staying() -> Iterator[None]:
    """os._exit raises EndedProcess in this process; a child that was forked is left through it as ever.

    So the place that called it can be told.
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
        os._exit = leave


def ending(error: BaseException) -> str:
    """What an exception that is no Exception did, and where: 'ends the interpreter: sys.exit(0) (a.py:3)'."""
    if isinstance(error, EndedProcess):
        said = f"ends the interpreter: {error}"
    elif isinstance(error, SystemExit):
        said = f"ends the interpreter: sys.exit({'' if error.code is None else error.code})"
    else:
        said = f"raises {type(error).__name__}: {message_of(error)}"
    return " ".join(f"{said[:400]}{place(error)}".split())


def message_of(error: BaseException) -> str:
    """The text of an exception; of one that cannot say it, that."""
    try:
        return str(error)
    except Exception as other:
        return f"(its text cannot be told: {type(other).__name__})"


def place(error: BaseException) -> str:
    """' (file.py:7)': the last line of somebody's own that an exception went through, else the last line."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if is_own(f.filename)]
    return "".join(f" ({Path(f.filename).name}:{f.lineno})" for f in (own or frames)[-1:])
