"""The one way to read a file that others may have written: a regular file, of bounded size and depth.

A pipe would hang, a device would fill the memory, and deep nesting or a number of 100 digits would break
whoever reads on.
"""

from __future__ import annotations

import errno
import json
import math
import os
import stat
from pathlib import Path
from typing import Any

import psutil

SMALL, LARGE = 1 << 26, 1 << 33  # bytes: of a description, and of measured values
PIECE = 1 << 20  # bytes by which a file may grow while it is read, as that of a run under way does
COPIES = 4  # of a large file's content that lie in memory at once: bytes, lines, values, a frame
DEPTH = 40  # of nested lists and objects
BITS = 63  # of a whole number


class ResultsError(ValueError):
    """A results folder or file cannot be used; the message names it."""


def read(path: Path, most: int = SMALL) -> bytes:
    """The content of a regular file of at most so many bytes, and of no more than the memory holds.

    Raises OSError, with a strerror that says why, for everything else.
    """
    # a pipe that nobody writes to would wait
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode):
            raise OSError(errno.EINVAL, f"it is {kind(about.st_mode)}, and no file", str(path))
        check_size(about.st_size, most, path)
        # not `most`, for as much memory would be taken at once
        return file.read(min(about.st_size + PIECE, most)) or b""


def check_size(size: int, most: int, path: Path) -> None:
    """Raises OSError for more bytes than are read of such a file, or than the memory holds."""
    if size > most:
        raise OSError(errno.EFBIG, f"it has {size} bytes, and at most {most} are read", str(path))
    if size > SMALL and (there := _available()) < COPIES * size:
        raise OSError(errno.ENOMEM, f"it has {size} bytes, and {there} bytes of memory are left", str(path))


def _available() -> float:
    """Bytes of memory that can be had; without bound where the system does not say."""
    try:
        return psutil.virtual_memory().available
    except OSError:
        return math.inf


def kind(mode: int) -> str:
    """What a thing in a folder is, as a person calls it."""
    kinds = {
        stat.S_IFREG: "a file",
        stat.S_IFDIR: "a folder",
        stat.S_IFLNK: "a link",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
    }
    return kinds.get(stat.S_IFMT(mode), "a device")


def parse(content: bytes | str) -> Any:
    """The value of a JSON text. Raises ValueError for one that is damaged or out of bounds."""
    try:
        value = json.loads(content)
    except RecursionError:
        raise ValueError(f"it is nested deeper than {DEPTH}") from None
    check_bounds(value)
    return value


def check_bounds(value: Any) -> None:
    """Raises ValueError for values that are nested too deeply, and for numbers of more than 64 bits."""
    level = [value]
    for _ in range(DEPTH):
        if any(isinstance(v, int) and v.bit_length() > BITS for v in level):
            raise ValueError(f"it has a whole number of more than {BITS} bits")
        level = [v for one in level for v in _inside(one)]
        if not level:
            return
    raise ValueError(f"it is nested deeper than {DEPTH}")


def _inside(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [*value.values()]
    return value if isinstance(value, list) else []
