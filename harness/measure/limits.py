"""Variables by which the libraries of a child process take so many threads."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
ENVIRONMENT = threading.RLock()  # held while the environment is not this process's own


def limits(threads: int) -> dict[str, str]:
    """The variables by which the libraries of a child take so many threads."""
    return dict.fromkeys(THREAD_VARIABLES, str(threads))


@contextmanager
def limited(threads: int) -> Iterator[None]:
    """Has these limits in the environment while children are started: libraries read them when they load.

    They are taken back at the end: Numba reads its own again, and refuses a change, whenever it compiles. One
    thread at a time may hold them, or one that starts in between would take those of the other for its own.
    """
    with ENVIRONMENT:
        new = limits(threads)
        old = {k: os.environ.get(k) for k in new}
        os.environ.update(new)
        try:
            yield
        finally:
            for key, value in old.items():
                if value is None:
                    os.environ.pop(key, None)
                else:
                    os.environ[key] = value
