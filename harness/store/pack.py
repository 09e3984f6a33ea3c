"""Finished runs become one pack beside them, and are runs again when it is undone.

A pack is written under a hidden name, read again, and only then shown; only then are the runs removed, one
after the other, each if it is still what was packed. So a kill at any instant leaves every run, some of them
twice: whoever packs again takes the second away.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import stat
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from . import atomic, files, lock, packed, table
from .files import ResultsError
from .packed import ARCHIVE, INDEX, Pack
from .reader import BLOCKS, frame_of, is_current, read_blocks, read_manifest, runs

AT_ONCE = 1 << 25  # bytes of runs whose rows lie in memory at once, a row group of the table
HIDDEN = re.compile(rf"\.(?P<name>.+)\.(?P<owner>{atomic.OWNER})")
PIECE = 1 << 20


@dataclass
class Packed:
    """What came of packing: the new pack where there is one, its runs, and why others stay."""

    folder: Path | None = None
    names: list[str] = field(default_factory=list)
    stay: dict[str, str] = field(default_factory=dict)


@dataclass
class _Candidate:
    folder: Path
    files: dict[str, str]  # of each, its hash
    rows: int = 0
    exact: bool = True

    def entry(self) -> dict[str, Any]:
        """What the index says of it."""
        return {"rows": self.rows, "exact": self.exact, "files": self.files}


def pack(paths: Iterable[Path]) -> Packed:
    """Packs the finished runs at these paths, which lie in one folder. Raises ResultsError."""
    folders = [folder for path in paths for folder in runs(path)]
    parents = sorted({folder.parent.resolve() for folder in folders})
    if len(parents) > 1:
        raise ResultsError(
            f"the runs lie in {parents[0]} and {parents[1]}; a pack stands beside its runs, so pack one"
            " folder at a time"
        )
    parent = folders[0].parent
    _sweep(parent)
    outcome = Packed()
    there = [folder for folder in dict.fromkeys(folders) if not packed.of_run(folder)]
    for folder in there:
        if reason := _stays(folder):
            outcome.stay[folder.name] = reason
    there = [folder for folder in there if folder.name not in outcome.stay]
    _remove_twice(parent, there)
    candidates = [_Candidate(folder, _hashes(folder)) for folder in there if folder.exists()]
    if candidates:
        outcome.folder = _write(parent, candidates)
        packed.forget()
        outcome.names = [one.folder.name for one in candidates]
        for one in candidates:
            _remove(one.folder, one.files)
    return outcome


def undo(folder: Path) -> list[str]:
    """Makes folders of the runs of a pack again, and removes it; returns their names. Raises ResultsError."""
    pack, parent = packed.read(folder), folder.parent
    _sweep(parent)
    with _writing(parent):
        for name in pack.runs:
            if not os.path.lexists(parent / name):
                _unpack(pack, name, parent)
        hidden = parent / f".{folder.name}.{atomic.owner()}"
        folder.rename(hidden)
        atomic.sync_folder(parent)
    packed.forget()
    shutil.rmtree(hidden, ignore_errors=True)
    return [*pack.runs]


def _stays(folder: Path) -> str | None:
    """Why a run stays a folder, or None."""
    if read_manifest(folder)["run"] != folder.name:
        return "its folder is called otherwise than the run"
    blocks = folder / BLOCKS
    if blocks.exists() and lock.is_held(blocks):
        return "it is under way"
    if not is_current(folder):
        return f"it has not ended; cellbench run resume={folder} goes on with it"
    last = {block["case"]: block["done"] for block in read_blocks(folder)}
    if not all(last.values()):
        return f"it was interrupted; cellbench run resume={folder} goes on with it"
    for path in folder.rglob("*"):
        mode = path.lstat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            return f"{path} is {files.kind(mode)}, and only files are packed"
    return None


def _hashes(folder: Path) -> dict[str, str]:
    """The hash of each file of a run, by its path inside."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): packed.hash_of(path) for path in paths}


def _write(parent: Path, candidates: list[_Candidate]) -> Path:
    """A new pack of these runs, which is there once all of it was read again."""
    name = f"packed-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    hidden = parent / f".{name}.{atomic.owner()}"
    with _writing(parent):
        try:
            hidden.mkdir()
            _write_archive(hidden / ARCHIVE, candidates)
            _write_table(hidden / packed.TABLE, candidates)
            index = {
                "schema": packed.SCHEMA,
                "created": datetime.now(UTC).isoformat(timespec="seconds"),
                "table": packed.hash_of(hidden / packed.TABLE),
                "runs": {one.folder.name: one.entry() for one in candidates},
            }
            atomic.write_json(hidden / INDEX, index)
            for path in (hidden / ARCHIVE, hidden / packed.TABLE):
                atomic.sync(path)
            _read_again(packed.read(hidden))
            hidden.rename(parent / name)
        except BaseException:
            shutil.rmtree(hidden, ignore_errors=True)
            raise
        atomic.sync_folder(parent)
    return parent / name


@contextmanager
def _writing(parent: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ResultsError(
            f"results {str(parent)!r} cannot be written: {error.strerror}; every run is kept"
        ) from None


def _write_archive(path: Path, candidates: list[_Candidate]) -> None:
    with zipfile.ZipFile(path, "x", zipfile.ZIP_DEFLATED, strict_timestamps=False) as archive:
        for one in candidates:
            for name in one.files:
                archive.write(one.folder / name, f"{one.folder.name}/{name}")


def _write_table(path: Path, candidates: list[_Candidate]) -> None:
    """Rows of all runs, run after run, as `load` gives them."""
    import pyarrow.parquet

    by_name = {one.folder.name: one for one in candidates}
    with pyarrow.parquet.ParquetWriter(path, table.schema(), write_page_checksum=True) as writer:
        for some in _together(candidates):
            frame = frame_of([one.folder for one in some])
            for name, rows in frame.groupby("run", sort=False):
                by_name[name].rows = len(rows)
                by_name[name].exact = table.is_unicode(rows)
            writer.write_table(table.as_arrow(_in_order(frame, some)))


def _in_order(frame: Any, some: list[_Candidate]) -> Any:
    """The frame with the runs in this order: `frame_of` puts those that have no blocks first."""
    place = {one.folder.name: number for number, one in enumerate(some)}
    return frame.iloc[frame["run"].map(place).to_numpy().argsort(kind="stable")]


def _together(candidates: list[_Candidate]) -> Iterator[list[_Candidate]]:
    some: list[_Candidate] = []
    size = 0
    for one in candidates:
        some.append(one)
        size += sum((one.folder / name).stat().st_size for name in one.files)
        if size > AT_ONCE:
            yield some
            some, size = [], 0
    if some:
        yield some


def _read_again(pack: Pack) -> None:
    """Raises ResultsError unless every file of the pack comes back as it was."""
    for run, about in pack.runs.items():
        for name, sha256 in about.files.items():
            if hashlib.sha256(pack.content(run, name, files.LARGE)).hexdigest() != sha256:
                raise ResultsError(f"{run}/{name} changed while it was packed; every run is kept: pack again")
    pack.archive.close()


def _remove(folder: Path, hashes: dict[str, str]) -> None:
    """Removes a run that is still what was packed, and that nobody writes."""
    handle = None
    if (folder / BLOCKS).exists():
        handle = lock.opened(folder / BLOCKS)
    try:
        if handle is not None:
            lock.take(handle)
        if _hashes(folder) != hashes:
            return
        hidden = folder.with_name(f".{folder.name}.{atomic.owner()}")
        folder.rename(hidden)
    except (BlockingIOError, FileNotFoundError):  # gone on with, or somebody else packed it too
        return
    finally:
        if handle is not None:
            os.close(handle)
    shutil.rmtree(hidden, ignore_errors=True)


def _remove_twice(parent: Path, folders: list[Path]) -> None:
    """Removes runs that a pack holds already: whoever packed them was killed."""
    for pack in _packs(parent):
        for folder in folders:
            if folder.name in pack.runs and folder.exists():
                _remove(folder, pack.runs[folder.name].files)


def _packs(parent: Path) -> list[Pack]:
    return [packed.read(path) for path in sorted(parent.iterdir()) if packed.is_pack(path)]


def _unpack(pack: Pack, name: str, parent: Path) -> None:
    """Makes a run's folder, which is there once all of it is; its table last, so that it is current."""
    hidden = parent / f".{name}.{atomic.owner()}"
    shutil.rmtree(hidden, ignore_errors=True)
    hidden.mkdir()
    for inside in sorted(pack.runs[name].files, key=lambda one: (one == packed.TABLE, one)):
        content = pack.content(name, inside, files.LARGE)
        if hashlib.sha256(content).hexdigest() != pack.runs[name].files[inside]:
            raise pack.damaged(ARCHIVE, f"{name}/{inside} is another than it was")
        (hidden / inside).parent.mkdir(parents=True, exist_ok=True)
        (hidden / inside).write_bytes(content)
        atomic.sync(hidden / inside)
    hidden.rename(parent / name)


def _sweep(parent: Path) -> None:
    """Removes what a killed process left: a pack that was not shown, or a run that is in a pack."""
    for path in parent.iterdir():
        match = HIDDEN.fullmatch(path.name)
        if match and atomic.has_ended(match["owner"]) and path.is_dir() and not path.is_symlink():
            name = match["name"]
            if name.startswith("packed-") or any(name in pack.runs for pack in _packs(parent)):
                shutil.rmtree(path, ignore_errors=True)
