"""Locks on files: who holds one writes, and one that nobody holds was left by a process that has ended."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# the errors of a file system that has no flock
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)
PATIENCE_S = 2.0  # in which whoever looks whether a lock is held has let go of it


def take(handle: int, kind: int = fcntl.LOCK_EX) -> bool:
    """False where the file system has no locks. Raises BlockingIOError where another process holds it."""
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        return False
    return True


def opened(path: Path) -> int:
    """A descriptor of a lock's file, which is made where there is none; not through a link."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)


def is_held(path: Path) -> bool | None:
    """Whether a process, on any machine that shares the folder, holds the lock; None where none can."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:  # somebody else's, who alone may open it
        return None
    try:
        return False if take(handle, fcntl.LOCK_SH) else None  # so that several may look at a time
    except BlockingIOError:
        return True
    finally:
        os.close(handle)


@contextmanager
def held(path: Path) -> Iterator[bool]:
    """Holds a lock; False where another process does, for longer than a look at it takes."""
    handle = opened(path)
    until = time.monotonic() + PATIENCE_S
    try:
        while True:
            try:
                take(handle)
            except BlockingIOError:
                if time.monotonic() < until:
                    time.sleep(0.05)
                    continue
                yield False
            else:
                yield True
            return
    finally:
        os.close(handle)
