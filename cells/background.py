"""A person's code that nobody called: in threads, at the exit, in finalizers. What it raises is one line.

Python would print a traceback for each, after the answer of a command or in the middle of it.
"""

from __future__ import annotations

import atexit
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

from .foreign import ending, message_of, place, staying
from .surroundings import is_own

Tell = Callable[[str], object]


def tell_what_it_raises(tell: Tell) -> None:
    """Has `tell` print one line for what a person's code raises in the background of this process.

    What this project's own code or a library raises there is printed as ever.
    """
    threading.excepthook = _told(threading.excepthook, "a thread", tell)
    sys.unraisablehook = _told(sys.unraisablehook, "an object that is let go", tell)
    _exit_handlers(tell)


def _told(before: Callable[[Any], object], who: str, tell: Tell) -> Callable[[Any], None]:
    """A hook of Python's that tells of a person's code, and leaves all else to the one before."""

    def hook(given: Any) -> None:
        if given.exc_value is None or not _is_a_persons(given.exc_value):
            before(given)
            return
        tell(f"{who} {_raised(given.exc_value)}")

    return hook


def _exit_handlers(tell: Tell) -> None:
    """Functions of a person's that are registered from now on end neither the others nor the process."""
    register, unregister = atexit.register, atexit.unregister
    handlers: dict[Any, Callable[[], None]] = {}

    def register_told(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Callable[..., Any]:
        code = getattr(function, "__code__", None)
        if code is None or not is_own(code.co_filename):
            return register(function, *args, **kwargs)

        def handler() -> None:
            try:
                with staying():
                    function(*args, **kwargs)
            except BaseException as error:
                tell(f"a function that is called at the exit {_raised(error)}")

        handlers[function] = handler
        register(handler)
        return function

    def unregister_told(function: Callable[..., Any], /) -> None:
        unregister(handlers.pop(function, function))

    atexit.register, atexit.unregister = register_told, unregister_told


def _is_a_persons(error: BaseException) -> bool:
    return any(is_own(frame.filename) for frame in traceback.extract_tb(error.__traceback__))


def _raised(error: BaseException) -> str:
    if not isinstance(error, Exception):
        return ending(error)
    text = " ".join(message_of(error).split())[:400]
    return f"raises {type(error).__name__}: {text}{place(error)}"
