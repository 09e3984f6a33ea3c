"""`exit` of the C library, called by what a test runs, ends pytest by a signal: exit code 0 would look well.

No parent process is needed, so every session has it. It is of Linux alone, where signals of real time are.
"""

from __future__ import annotations

import atexit
import faulthandler
import os
import signal
import sys
from collections.abc import Callable

LINE = b"cellbench: a test called exit of the C library, which ends pytest before its last line\n"
SIGNAL: int = getattr(signal, "SIGRTMAX", 0)  # by default it ends the process


def armed() -> Callable[[], None]:
    """From here on `exit` of the C library writes LINE, and where it was called, and raises SIGNAL.

    Returns what disarms it. It does nothing where the signal is somebody's, or standard error is closed.
    """
    if not sys.platform.startswith("linux") or not SIGNAL or signal.getsignal(SIGNAL) != signal.SIG_DFL:
        return lambda: None
    try:
        return _armed(os.dup(2))  # pytest will put its own in that place
    except (OSError, AttributeError, ImportError):  # AttributeError: another library of C
        return lambda: None


def _armed(error: int) -> Callable[[], None]:
    import ctypes

    library = ctypes.CDLL(None)
    library.fdopen.restype = ctypes.c_void_p
    # Python is gone when the C library comes to its end in the usual way, so that nothing of Python may be
    # called then: a line waits in a buffer, and a signal is raised, which is ignored at that time
    stream = ctypes.c_void_p(library.fdopen(error, b"w"))
    library.fwrite(LINE, 1, len(LINE), stream)
    library.__cxa_atexit(getattr(library, "raise"), ctypes.c_void_p(SIGNAL), None)
    library.__cxa_atexit(library.fflush, stream, None)  # the last is called first
    faulthandler.register(SIGNAL, error, all_threads=False, chain=True)

    def disarm() -> None:
        library.__fpurge(stream)
        faulthandler.unregister(SIGNAL)
        library.signal(SIGNAL, ctypes.c_void_p(int(signal.SIG_IGN)))  # Python's own is for one thread alone

    atexit.register(disarm)
    os.register_at_fork(after_in_child=disarm)  # a child may end as it likes
    return disarm
