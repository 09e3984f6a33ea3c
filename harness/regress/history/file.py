"""The file of points: JSON lines, one writer at a time; anything else in it is refused."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, fields
from io import RawIOBase
from pathlib import Path

from ...store import ResultsError, files, make
from .points import Point

SCHEMA = 1
MOST = 1 << 30  # bytes of a history
PATIENCE_S = 30.0  # in which another writer must be done
FILE = Path("results/history/history.jsonl")
FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_NOFOLLOW
KEYS = {"schema", *(f.name for f in fields(Point))}


def read(path: Path) -> list[Point]:
    """All points. Raises ResultsError for damage.

    A last line without its newline was cut off while it was written: it is dropped with a warning.
    """
    try:
        content = files.read(path, MOST)
    except FileNotFoundError:
        raise ResultsError(
            f"there is no history {str(path)!r}; `cellbench history RUN` begins one, --file says where"
        ) from None
    except OSError as error:
        raise ResultsError(
            f"history {str(path)!r} cannot be read: {error.strerror}; --file says where"
        ) from None
    return _points(path, content)


def _points(path: Path, content: bytes) -> list[Point]:
    *lines, rest = content.split(b"\n")
    points = [_point(path, number, line) for number, line in enumerate(lines, 1)]
    if rest:
        if not lines and not rest.startswith(b'{"schema"'):
            raise ResultsError(
                f"{path} is no history: its first line is none of ours; --file says which to use"
            )
        warnings.warn(f"{path}: the last line was cut off while it was written; it is left out", stacklevel=3)
    return points


def _point(path: Path, number: int, line: bytes) -> Point:
    try:
        record = files.parse(line)
    except ValueError:
        raise ResultsError(
            f"{path} line {number} is damaged; remove the line, or give another --file"
        ) from None
    if not isinstance(record, dict) or record.keys() != KEYS or record.pop("schema") != SCHEMA:
        raise ResultsError(
            f"{path} line {number} is no point of history, schema {SCHEMA}; remove it, or give another --file"
        )
    try:
        return Point(**record)
    except (ValueError, TypeError) as error:
        raise ResultsError(
            f"{path} line {number} is damaged ({error}); remove the line, or give another --file"
        ) from None


def append(path: Path, points: Sequence[Point]) -> int:
    """Adds the points that are not there yet (by run and benchmark); returns how many were new.

    Nothing is written through a link: it may have come with a folder from elsewhere, and lead anywhere.
    A torn last line is cut off first, with a warning; a file that is damaged otherwise is left as it is
    (ResultsError).
    """
    make(path.parent)
    try:
        if path.is_symlink():
            raise OSError(errno.ELOOP, "it is a link")
        descriptor = os.open(path, FLAGS, 0o644)
        about = os.fstat(descriptor)
        is_file = stat.S_ISREG(about.st_mode)
        if not is_file or about.st_size > MOST:
            os.close(descriptor)
            large = f"it is of {about.st_size} bytes, and at most {MOST} are read"
            raise OSError(
                errno.EINVAL, large if is_file else f"it is {files.kind(about.st_mode)}, and no file"
            )
    except OSError as error:
        raise ResultsError(
            f"history {str(path)!r} cannot be written: {error.strerror}; --file says where"
        ) from None
    with os.fdopen(descriptor, "r+b", buffering=0) as file:
        _wait_for(file, path)
        content = file.read(MOST) or b""
        known = {(p.run, p.benchmark) for p in _points(path, content)}
        file.truncate(content.rfind(b"\n") + 1)
        new = list({(p.run, p.benchmark): p for p in points if (p.run, p.benchmark) not in known}.values())
        for point in new:
            _write(file, path, (json.dumps({"schema": SCHEMA, **asdict(point)}) + "\n").encode())
    return len(new)


def _wait_for(file: RawIOBase, path: Path) -> None:
    """Takes the lock: what another writer adds must be seen, or a run could be there twice."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > until:
                raise ResultsError(
                    f"history {str(path)!r} is held by another process for more than {PATIENCE_S:g} s;"
                    " end that one, or give another --file"
                ) from None
        time.sleep(0.05)


def _write(file: RawIOBase, path: Path, line: bytes) -> None:
    """Appends one line and waits until it is on the disk.

    The part that a full disk took of a line is cut off when the next one is added.
    """
    try:
        written = file.write(line)
        os.fsync(file.fileno())
    except OSError as error:
        raise ResultsError(f"history {str(path)!r} cannot be written: {error.strerror}") from None
    if written != len(line):
        raise ResultsError(f"history {str(path)!r} cannot be written: the disk is full")
