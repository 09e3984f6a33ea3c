"""Temporary folders that a killed process leaves are removed by the next one."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .atomic import OWNER, has_ended, owner

PREFIX, NEW = "cellbench-", ".cellbench-new-"
SOON_S = 3600  # in which a folder that was just made has got its lock


@contextmanager
def scratch(parent: Path | None = None) -> Iterator[Path]:
    """A folder that is removed at the end, in `parent` or in the system's folder for temporary files.

    A lock is held on it meanwhile. One beside it whose lock nobody holds was left by a killed process, on
    whatever machine that shares the folder, and is removed; its name has the process' number for a person.
    Raises OSError where it cannot be made.
    """
    parent = parent or Path(tempfile.gettempdir())
    _sweep(parent)
    token = secrets.token_hex(4)
    new, folder = parent / f"{NEW}{owner()}-{token}", parent / f"{PREFIX}{os.getpid()}-{token}"
    new.mkdir(mode=0o700)
    handle = os.open(new, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks: then nobody else finds it without one
            fcntl.flock(handle, fcntl.LOCK_EX)
        new.rename(folder)  # locked before it has the name that others look for
        yield folder
    finally:
        for left in (new, folder):
            shutil.rmtree(left, ignore_errors=True)
        os.close(handle)


def _sweep(parent: Path) -> None:
    """Removes what killed processes left. What is in use, or another user's, stays."""
    for folder in [*parent.glob(f"{PREFIX}[0-9]*-*"), *parent.glob(f"{NEW}*")]:
        with suppress(OSError):
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            if folder.name.startswith(NEW) and not _is_left(folder):
                continue
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises where it is in use
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(handle)


def _is_left(new: Path) -> bool:
    """Whether a folder without its lock yet will never have one."""
    match = re.fullmatch(rf"{re.escape(NEW)}({OWNER})-[0-9a-f]{{8}}", new.name)
    return bool(match and has_ended(match[1])) or time.time() - new.stat().st_mtime >= SOON_S
