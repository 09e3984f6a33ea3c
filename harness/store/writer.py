"""Runs written to disk: one folder, one writer, one line a block, each on the disk before the next."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import warnings
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from . import atomic, table
from .block import encode
from .reader import BLOCKS, MANIFEST, SCHEMA, TABLE, ResultsError, frame_of, read_blocks, read_manifest

# the errors of a file system that has no flock
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)
NAMES = 100  # tries to find a name that no other run has


class RunWriter:
    """The one writer of a run's folder.

    `locked` is False on a file system without locks, where a second writer goes unseen.
    """

    def __init__(self, folder: Path, attempt: int) -> None:
        self.folder, self.attempt = folder, attempt
        try:
            self._file = os.open(folder / BLOCKS, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        except OSError as error:
            raise ResultsError(f"{folder / BLOCKS} cannot be written: {error.strerror}") from None
        try:
            self.locked = _lock(self._file)
        except BlockingIOError:
            os.close(self._file)
            raise ResultsError(f"{folder} is being written by another process; wait for it to end") from None

    def append(
        self,
        case: str,
        definition: dict[str, Any],
        status: str,
        *,
        series: Iterable[dict[str, Any]] = (),
        reason: str | None = None,
        implementation: str | None = None,
        done: bool = False,
    ) -> None:
        """Adds a block; `done` says that the case is finished.

        A series has metric, unit, values, and may have lag, process. Raises BlockError, and writes nothing,
        for a block that could not be read again.
        """
        line = encode(
            {
                "case": case,
                "attempt": self.attempt,
                "done": done,
                "status": status,
                "reason": reason,
                "implementation": implementation,
                "definition": definition,
                "series": series,
            }
        )
        before, rest = os.fstat(self._file).st_size, memoryview(line)
        try:
            while rest:
                rest = rest[os.write(self._file, rest) :]
            os.fsync(self._file)
        except OSError as error:
            # a full disk: the torn line is cut off, so that the next block begins a line
            os.ftruncate(self._file, before)
            raise ResultsError(f"{self.folder / BLOCKS} cannot be written: {error.strerror}") from None

    def release(self) -> None:
        """Lets go of the run as it is."""
        os.close(self._file)

    def close(self) -> None:
        """Ends the run: packs the tidy table beside the blocks."""
        path = self.folder / TABLE
        try:
            with atomic.replacing(path) as temporary:
                table.pack(frame_of([self.folder]), temporary)
        except OSError as error:
            raise ResultsError(f"{path} cannot be written: {error.strerror}; the blocks are whole") from None
        finally:
            self.release()


def _lock(file: int) -> bool:
    """False where the file system has no locks. Raises BlockingIOError where another process holds it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        return False
    return True


def create(parent: Path, manifest: dict[str, Any]) -> RunWriter:
    """A new run's folder below the parent, with its manifest. Raises ResultsError where it cannot be written.

    It is made under a hidden name and then renamed, so that a kill in between leaves no folder that looks
    like a run and is none.
    """
    make(parent)
    try:
        hidden = _hidden(parent)
        name = hidden.name[1:]
        _write_manifest(hidden / MANIFEST, {"schema": SCHEMA, "run": name, **manifest})
        writer = RunWriter(hidden, attempt=0)
        hidden.rename(parent / name)
        atomic.sync_folder(parent)
    except OSError as error:
        raise ResultsError(f"results {str(parent)!r} cannot be written: {error.strerror}") from None
    writer.folder = parent / name
    return writer


def _hidden(parent: Path) -> Path:
    """A folder made under a name that no other run has; a run under way holds the same name hidden."""
    for _ in range(NAMES):
        name = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        try:
            (parent / f".{name}").mkdir()
        except FileExistsError:
            continue
        if not (parent / name).exists():
            return parent / f".{name}"
        (parent / f".{name}").rmdir()
    raise ResultsError(
        f"no name for a run in {str(parent)!r} was free in {NAMES} tries; give another folder, results=DIR"
    )


def _write_manifest(path: Path, manifest: dict[str, Any]) -> None:
    # exact: an option of a probe may be inf, and with null in its place the run could not be gone on with
    atomic.write_json(path, manifest, exact=True, default=str)


def make(folder: Path) -> None:
    """Makes the folder, with those above it. Raises ResultsError where it cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResultsError(
            f"results {str(folder)!r} cannot be written: {error.strerror}; give another folder, results=DIR"
        ) from None


def reopen(folder: Path) -> tuple[RunWriter, dict[str, str]]:
    """A writer that goes on with an interrupted run, and how each finished case ended.

    A torn last line is cut off. Raises ResultsError for a run that cannot be gone on with.
    """
    read_manifest(folder)
    path = folder / BLOCKS
    if not path.exists():
        raise ResultsError(f"{folder} has no {BLOCKS} to go on with; start a new run")
    writer = RunWriter(folder, attempt=0)  # takes the lock before anything is read or cut
    if not writer.locked:
        warnings.warn(
            f"{folder} lies on a file system without locks: see to it that nothing else writes there",
            stacklevel=2,
        )
    try:
        blocks = list(read_blocks(folder))
    except ResultsError:
        writer.release()
        raise
    text = path.read_bytes()
    if text and not text.endswith(b"\n"):
        os.truncate(path, text.rfind(b"\n") + 1)
    writer.attempt = 1 + max((b["attempt"] for b in blocks), default=0)
    last = {b["case"]: b for b in blocks}
    return writer, {case: b["status"] for case, b in last.items() if b["done"]}
