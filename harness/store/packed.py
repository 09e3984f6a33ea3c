"""Runs that were packed, read where they would lie: a run keeps its path, and the pack stands in its place.

A pack is a folder beside runs. `runs.zip` holds every file of every run as it was, `cases.parquet` the rows
of all of them, run after run, and `pack.json` says which runs, with hashes. A run that lies beside a pack as
a folder too is the folder: it is the same, or it was gone on with.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from . import files, table
from .files import ResultsError
from .manifest import RUN_NAME, TABLE

INDEX, ARCHIVE = "pack.json", "runs.zip"
SCHEMA = 1
MOST_RUNS = 1_000_000
KEYS = {"rows", "exact", "files"}  # of a run in the index
HASH = re.compile(r"[0-9a-f]{64}")
# what zipfile raises for an archive that is damaged, or that it cannot read
DAMAGE = (zipfile.BadZipFile, zlib.error, ValueError, EOFError, RuntimeError)


@dataclass(frozen=True)
class PackedRun:
    """Where a run's rows begin in the table, how many there are, and the hash of each of its files.

    Its rows are exact unless a text of them, such as a file's name of undecodable bytes, is no Unicode: then
    `load` reads its blocks.
    """

    first: int
    rows: int
    exact: bool
    files: dict[str, str]


@dataclass(frozen=True)
class Pack:
    """A pack's folder, and what its index says, checked."""

    folder: Path
    runs: dict[str, PackedRun]
    table_sha256: str

    @cached_property
    def archive(self) -> zipfile.ZipFile:
        """The files of the runs. Raises ResultsError for a damaged one."""
        try:
            return zipfile.ZipFile(self.folder / ARCHIVE)
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise self.damaged(ARCHIVE, error) from None

    def content(self, run: str, name: str, most: int) -> bytes:
        """A file of a run. Raises OSError as `files.read` does, and ResultsError for a damaged archive."""
        path = self.folder / ARCHIVE
        try:
            entry = self.archive.getinfo(f"{run}/{name}")
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from None
        files.check_size(entry.file_size, most, path)
        try:
            return self.archive.read(entry)
        except DAMAGE as error:
            raise self.damaged(ARCHIVE, error) from None

    def table(self, names: Iterable[str]) -> Any:
        """Arrow's table of the rows of some runs, in their order in the pack."""
        import pyarrow

        wanted = [self.runs[name] for name in sorted(set(names), key=lambda n: self.runs[n].first)]
        path = self.folder / TABLE
        if self.hash_of_table != self.table_sha256:
            raise self.damaged(TABLE, "its hash is another than that of the index")
        try:
            spans = list(_spans(wanted))
            return pyarrow.concat_tables(table.unpack(path, first, count) for first, count in spans)
        except (OSError, ValueError) as error:
            raise self.damaged(TABLE, error) from None

    @cached_property
    def hash_of_table(self) -> str:
        """Of the file, as it is."""
        path = self.folder / TABLE
        try:
            return hash_of(path)
        except OSError as error:
            raise ResultsError(f"{path} cannot be read: {error.strerror}") from None

    def damaged(self, name: str, reason: object) -> ResultsError:
        """The error for a file of the pack."""
        line = (str(reason).splitlines() or [""])[0]
        return ResultsError(f"{self.folder / name} is damaged: {line:.100}; get the pack again")


def hash_of(path: Path) -> str:
    """The hash of a file, as an index has it. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _spans(runs: Iterable[PackedRun]) -> Iterator[tuple[int, int]]:
    """(first row, number of rows) of what lies together; runs by their first row."""
    first = last = 0
    for run in runs:
        if run.first != last:
            yield first, last - first
            first = run.first
        last = run.first + run.rows
    yield first, last - first


def is_pack(folder: Path) -> bool:
    """Whether a folder has the index of a pack; a path that can be none has not."""
    try:
        return (folder / INDEX).is_file()
    except OSError:  # a name that is too long
        return False


def of_run(folder: Path) -> Pack | None:
    """The pack that holds the run of a folder which is not there; None where it is, or no pack holds it."""
    try:
        if os.path.lexists(folder):
            return None
        changed = folder.parent.stat().st_mtime_ns
    except (OSError, ValueError):
        return None
    if (path := _by_run(folder.parent, changed).get(folder.name)) is None:
        return None
    return read(path)


def beside(parent: Path) -> dict[str, Path]:
    """The folder that each packed run would have, by its name, for the packs that lie in a folder."""
    return {name: parent / name for name in _by_run(parent, parent.stat().st_mtime_ns)}


def forget() -> None:
    """Has packs be looked for anew: this process has made or removed one."""
    _by_run.cache_clear()
    _read.cache_clear()


@lru_cache(maxsize=64)
def _by_run(parent: Path, changed: int) -> dict[str, Path]:
    """The pack of each packed run of a folder; of two packs with a run, the first by name."""
    by_run: dict[str, Path] = {}
    for path in sorted(parent.iterdir()):
        if not path.name.startswith(".") and is_pack(path):
            for name in read(path).runs:
                by_run.setdefault(name, path)
    return by_run


def read(folder: Path) -> Pack:
    """The pack in a folder. Raises ResultsError for one that is damaged, or of another schema."""
    try:
        about = (folder / INDEX).stat()
    except OSError as error:
        raise ResultsError(f"{folder / INDEX} cannot be read: {error.strerror}") from None
    return _read(folder, about.st_mtime_ns, about.st_ino)


@lru_cache(maxsize=16)
def _read(folder: Path, changed: int, number: int) -> Pack:
    path = folder / INDEX
    try:
        found = files.parse(files.read(path, files.LARGE))
        runs, sha256 = _checked(found)
    except OSError as error:
        raise ResultsError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ResultsError(f"{path} is damaged: {error}; get the pack again") from None
    return Pack(folder, runs, sha256)


def _checked(found: Any) -> tuple[dict[str, PackedRun], str]:
    """Raises ValueError, which names the entry, for an index that is not what it must be."""
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        schema = found.get("schema") if isinstance(found, dict) else None
        raise ValueError(f"it is of schema {schema!r:.60}, and this version reads schema {SCHEMA}")
    listed, sha256 = found.get("runs"), found.get("table")
    if not isinstance(listed, dict) or not 0 < len(listed) <= MOST_RUNS:
        raise ValueError(f"its runs are {listed!r:.60}; from 1 to {MOST_RUNS:,} are read")
    if not isinstance(sha256, str) or not HASH.fullmatch(sha256):
        raise ValueError(f"its table is {sha256!r:.60}, and no hash")
    runs, first = {}, 0
    for name, about in listed.items():
        if not RUN_NAME.fullmatch(name) or not isinstance(about, dict) or about.keys() != KEYS:
            raise ValueError(f"its run {name!r:.60} is {about!r:.60}")
        rows, hashes = about["rows"], about["files"]
        if type(rows) is not int or not 0 <= rows <= table.MOST_ROWS:
            raise ValueError(f"its run {name} has {rows!r:.60} rows")
        if type(about["exact"]) is not bool:
            raise ValueError(f"its run {name} is exact: {about['exact']!r:.60}")
        if not isinstance(hashes, dict) or not all(
            _is_inside(n) and isinstance(h, str) and HASH.fullmatch(h) for n, h in hashes.items()
        ):
            raise ValueError(f"the files of its run {name} are {hashes!r:.60}")
        runs[name] = PackedRun(first, rows, about["exact"], hashes)
        first += rows
    return runs, sha256


def _is_inside(name: str) -> bool:
    """Whether the path of a file stays inside of its run's folder."""
    return "\0" not in name and all(part not in ("", ".", "..") for part in name.split("/"))


def exists(path: Path) -> bool:
    """Whether a run has a file, on the disk or in a pack."""
    if path.exists():
        return True
    pack = of_run(path.parent)
    return pack is not None and path.name in pack.runs[path.parent.name].files


def content(path: Path, most: int = files.SMALL) -> bytes:
    """The content of a run's file, as `files.read` gives it, on the disk or in a pack."""
    try:
        return files.read(path, most)
    except (FileNotFoundError, NotADirectoryError):
        if pack := of_run(path.parent):
            return pack.content(path.parent.name, path.name, most)
        raise
