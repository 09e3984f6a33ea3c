"""Runs written to disk: one folder, one writer, one line a block, each on the disk before the next."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from . import atomic, files, lock, manifest, table
from .block import encode
from .files import ResultsError
from .manifest import KEPT
from .reader import BLOCKS, MANIFEST, SCHEMA, TABLE, frame_of, read_blocks, read_manifest

NAMES = 100  # tries to find a name that no other run has
BEGINNING_S = 60.0  # in which a run that begins has its lock
# a run's folder before it has begun, or while it is imported
HIDDEN = re.compile(rf"\.(?P<run>\d{{8}}-\d{{6}}-[0-9a-f]{{4}})(?:\.(?P<owner>{atomic.OWNER}))?")


@dataclass(frozen=True)
class FirstPass:
    """What the first pass of a case measured, and the implementation that it found.

    `repeated` has what the second pass measured, by process.
    """

    implementation: str
    series: list[dict[str, Any]]
    reason: str | None = None
    repeated: dict[int, list[dict[str, Any]]] = field(default_factory=dict)


class RunWriter:
    """The one writer of a run's folder.

    `locked` is False on a file system without locks, where a second writer goes unseen.
    """

    def __init__(self, folder: Path, attempt: int) -> None:
        self.folder, self.attempt = folder, attempt
        self.failure = ""  # why the last block, or the table, could not be written
        self.begun: dict[str, FirstPass] = {}
        for name in (MANIFEST, BLOCKS, TABLE, KEPT):
            if (folder / name).is_symlink():  # of a run from elsewhere: it may lead anywhere
                raise ResultsError(f"{folder / name} is a link; nothing is written through it, so copy it")
        try:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_NOFOLLOW
            self._file = os.open(folder / BLOCKS, flags, 0o644)
        except OSError as error:
            raise ResultsError(f"{folder / BLOCKS} cannot be written: {error.strerror}") from None
        try:
            self.locked = lock.take(self._file)
        except BlockingIOError:
            os.close(self._file)
            raise ResultsError(f"{folder} is being written by another process; wait for it to end") from None

    @property
    def again(self) -> str:
        """The command that goes on with this run."""
        return (read_manifest(self.folder).get("again") or {}).get("command") or "run"

    @property
    def kept(self) -> Path:
        """Folder of what cases that have not ended go on from; it may not be there."""
        return self.folder / KEPT

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
            self.failure = str(error.strerror)
            raise ResultsError(
                f"{self.folder / BLOCKS} cannot be written: {error.strerror}; the block in hand, of case"
                f" {case}, is lost, and all before it is kept; make room, then go on with: cellbench"
                f" {self.again} resume={self.folder}"
            ) from None

    def release(self) -> None:
        """Lets go of the run as it is."""
        if self._file >= 0:
            os.close(self._file)
        self._file = -1

    def close(self) -> None:
        """Ends the run: packs the tidy table beside the blocks, and writes its hash into the manifest."""
        path = self.folder / TABLE
        try:
            with atomic.replacing(path) as temporary:
                table.pack(frame_of([self.folder]), temporary)
                sha256 = hashlib.sha256(temporary.read_bytes()).hexdigest()
            _write_manifest(self.folder / MANIFEST, read_manifest(self.folder) | {"table": sha256})
        except OSError as error:
            if not self.failure:  # else the line that says what was lost is under way
                self.failure = str(error.strerror)
                raise ResultsError(
                    f"{path} cannot be written: {error.strerror}; every block is kept: cellbench"
                    f" {self.again} resume={self.folder} packs the table"
                ) from None
        finally:
            self.release()


def create(
    parent: Path, described: dict[str, Any], named: Callable[[str], object] = lambda name: None
) -> RunWriter:
    """A new run's folder below the parent, with its manifest. Raises ResultsError where it cannot be written.

    It is made under a hidden name and then renamed, so that a kill in between leaves no folder that looks
    like a run and is none. `named` is told the run's name before that, so that no run is there unknown.
    """
    writer = _begun(parent, described)
    named(_shown(writer.folder))
    _show(writer)
    return writer


@contextmanager
def whole(parent: Path, described: dict[str, Any]) -> Iterator[RunWriter]:
    """A run that is there once all of it is: for what is not measured, and can be made again.

    It stays hidden until the block ends, and is removed where that fails.
    """
    writer = _begun(parent, described)
    try:
        yield writer
        writer.close()
        _show(writer)
    except BaseException as error:
        writer.release()
        shutil.rmtree(writer.folder, ignore_errors=True)
        if isinstance(error, ResultsError) and (reason := writer.failure):
            raise ResultsError(
                f"results {str(parent)!r} cannot be written: {reason}; nothing is left there: make room, and"
                " do it again"
            ) from None
        raise


def _begun(parent: Path, described: dict[str, Any]) -> RunWriter:
    """The writer of a run in a hidden folder, its manifest checked, sealed and written."""
    make(parent)
    _sweep(parent)
    hidden = _hidden(parent)
    try:
        content = {"schema": SCHEMA, "run": _shown(hidden), **described}
        files.check_bounds(content)
        manifest.check(content)
        _write_manifest(hidden / MANIFEST, manifest.sealed(content))
        return RunWriter(hidden, attempt=0)
    except BaseException as error:
        shutil.rmtree(hidden, ignore_errors=True)
        if isinstance(error, OSError):
            raise ResultsError(f"results {str(parent)!r} cannot be written: {error.strerror}") from None
        if type(error) is ValueError:
            raise ResultsError(f"the run's manifest cannot be written: {error}") from None
        raise


def _show(writer: RunWriter) -> None:
    """Gives the run its name, without the dot and the owner."""
    parent, name = writer.folder.parent, _shown(writer.folder)
    try:
        writer.folder.rename(parent / name)
        atomic.sync_folder(parent)
    except OSError as error:
        raise ResultsError(f"results {str(parent)!r} cannot be written: {error.strerror}") from None
    writer.folder = parent / name


def _shown(hidden: Path) -> str:
    match = HIDDEN.fullmatch(hidden.name)
    assert match
    return match["run"]


def _sweep(parent: Path) -> None:
    """Removes what killed processes left: hidden folders of runs that nobody writes any more."""
    for folder in parent.iterdir():
        match = HIDDEN.fullmatch(folder.name)
        if match and folder.is_dir() and not folder.is_symlink():
            with suppress(OSError, ResultsError):
                young = time.time() - folder.stat().st_mtime < BEGINNING_S
                if young and not atomic.has_ended(match["owner"] or ""):
                    continue
                writer = RunWriter(folder, attempt=0)  # raises where a process holds the run
                writer.release()
                if writer.locked and all(
                    path.name.lstrip(".").startswith((MANIFEST, BLOCKS, TABLE)) for path in folder.iterdir()
                ):
                    shutil.rmtree(folder)


def _hidden(parent: Path) -> Path:
    """A folder made under a name that no other run has; a run under way holds the same name hidden."""
    for _ in range(NAMES):
        name = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        hidden = parent / f".{name}.{atomic.owner()}"
        if list(parent.glob(f".{name}.*")):
            continue
        try:
            hidden.mkdir()
        except FileExistsError:
            continue
        except OSError as error:
            raise ResultsError(f"results {str(parent)!r} cannot be written: {error.strerror}") from None
        if not (parent / name).exists():
            return hidden
        hidden.rmdir()
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

    A torn last line is cut off. The writer's `begun` has what was measured of the others. Raises ResultsError
    for a run that cannot be gone on with.
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
    text = files.read(path, files.LARGE)
    if text and not text.endswith(b"\n"):
        os.truncate(path, text.rfind(b"\n") + 1)
    writer.attempt = 1 + max((b["attempt"] for b in blocks), default=0)
    last = {b["case"]: b for b in blocks}
    writer.begun = _first_passes(blocks, last)
    return writer, {case: b["status"] for case, b in last.items() if b["done"]}


def _first_passes(blocks: list[dict[str, Any]], last: dict[str, dict[str, Any]]) -> dict[str, FirstPass]:
    """Of each case that is not done, what was measured, where its first pass came to its end.

    Its blocks are those up to the one that names the implementation; the second pass follows.
    """
    found: dict[str, FirstPass] = {}
    series: dict[str, list[dict[str, Any]]] = {}
    for block in blocks:
        case, end = block["case"], last[block["case"]]
        if end["done"] or block["attempt"] != end["attempt"]:
            continue
        if block["status"] != "ok":  # what was disturbed is measured again
            continue
        measured = [s | {"values": list(s["values"])} for s in block["series"]]
        if case in found:
            repeated = found[case].repeated
            for one in measured:
                repeated.setdefault(one.get("process"), []).append(one)
            if block is blocks[-1]:  # a process may write several of a case: more may have followed
                for one in measured:
                    repeated.pop(one.get("process"), None)
            continue
        series.setdefault(case, []).extend(measured)
        if block["implementation"] and block["status"] == "ok":
            found[case] = FirstPass(block["implementation"], series[case], block["reason"])
    return found
