"""What ends a process at once, called of the C library through ctypes: a test that does so fails.

`exit` is not among it, which `trap` sees whoever calls it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

ENDING = ("_exit", "_Exit", "quick_exit")
EXECUTE = ("execv", "execve", "execvp", "execvpe", "execl", "execlp", "execle", "fexecve")


@contextmanager
def refusing(refuse: Callable[[str], None]) -> Iterator[None]:
    """Meanwhile refuse(what) is called before such a function, as ctypes finds it, is; it may raise.

    Another exit code than 0 is red, so that it is let through.
    """
    try:
        import ctypes
    except ImportError:  # a Python that was built without it
        yield
        return
    found = ctypes.CDLL.__getitem__

    def refused(library: Any, name: Any) -> Any:
        return _refusing(library, name, refuse) if name in ENDING + EXECUTE else found(library, name)

    ctypes.CDLL.__getitem__ = refused  # type: ignore[method-assign]
    try:
        yield
    finally:
        ctypes.CDLL.__getitem__ = found  # type: ignore[method-assign]


def _refusing(library: Any, name: str, refuse: Callable[[str], None]) -> Any:
    plain = library._FuncPtr

    class Function(plain):  # type: ignore[misc, valid-type]
        _flags_, _restype_ = plain._flags_, plain._restype_

        def __call__(self, *arguments: Any) -> Any:
            status = getattr(arguments[0], "value", arguments[0]) if arguments else 0
            if name in EXECUTE or not (isinstance(status, int) and status & 0xFF):
                refuse(f"{name} of the C library")
            return super().__call__(*arguments)

    function = Function((name, library))
    function.__name__ = name
    return function
