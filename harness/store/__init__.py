"""Results on disk. One run is one folder with one writer: manifest.json, cases.jsonl, and cases.parquet once
it has ended.

A line of cases.jsonl is a block: one case's definition, status, and series of values. It is appended with one
write and fsync, so that a kill at any instant loses at most the block in hand. Numbers are SI; NaN and
Infinity are written as such. The table is made of the blocks, for other tools and for handing on; it is read
where it stands alone.
"""

from __future__ import annotations

import errno
import fcntl
import gc
import json
import os
import secrets
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import tidy
from .block import BlockError, decode, encode
from .tidy import COLUMNS, DEFINITION, WHOLE

if TYPE_CHECKING:
    import pandas

__all__ = [
    "COLUMNS",
    "DEFINITION",
    "WHOLE",
    "BlockError",
    "ResultsError",
    "RunWriter",
    "create",
    "load",
    "make",
    "reopen",
    "runs",
]

SCHEMA = 1
MANIFEST, BLOCKS, TABLE = "manifest.json", "cases.jsonl", "cases.parquet"
NO_LOCKS = (
    errno.ENOLCK,
    errno.ENOSYS,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.EINVAL,
)  # what a file system without flock says
MAGIC = b"PAR1"  # a Parquet file begins and ends with it
NAMES = 100  # tries to find a name that no other run has


class ResultsError(ValueError):
    """A results folder or file cannot be used; the message names it."""


class RunWriter:
    """The one writer of a run's folder. `locked` is False where the file system has no locks to see a second
    one by.
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
        """Adds a block; `done` says that the case is finished. A series has metric, unit, values, and may
        have lag, process.

        Raises BlockError, and writes nothing, for what could not be read again.
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
        except (
            OSError
        ) as error:  # a full disk: what was written of the line goes, so that the next one begins a line
            os.ftruncate(self._file, before)
            raise ResultsError(f"{self.folder / BLOCKS} cannot be written: {error.strerror}") from None

    def release(self) -> None:
        """Lets go of the run as it is."""
        os.close(self._file)

    def close(self) -> None:
        """Ends the run: packs the tidy table beside the blocks."""
        temporary = self.folder / (TABLE + ".tmp")
        try:
            tidy.pack(_tidy([self.folder]), temporary)
            _synced(temporary)
            temporary.replace(self.folder / TABLE)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise ResultsError(
                f"{self.folder / TABLE} cannot be written: {error.strerror}; the blocks are whole"
            ) from None
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

    It is made under a hidden name and then renamed, so that whoever is killed before leaves no run that is
    none.
    """
    make(parent)
    try:
        hidden = _hidden(parent)
        name = hidden.name[1:]
        _write_json(hidden / MANIFEST, {"schema": SCHEMA, "run": name, **manifest})
        writer = RunWriter(hidden, attempt=0)
        hidden.rename(parent / name)
    except OSError as error:
        raise ResultsError(f"results {str(parent)!r} cannot be written: {error.strerror}") from None
    writer.folder = parent / name
    return writer


def _hidden(parent: Path) -> Path:
    """A folder made for a run, by a name that is only this run's: a run under way holds the same name hidden."""
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


def make(folder: Path) -> None:
    """The folder, with those above it. Raises ResultsError where it cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResultsError(
            f"results {str(folder)!r} cannot be written: {error.strerror}; give another folder, results=DIR"
        ) from None


def reopen(folder: Path) -> tuple[RunWriter, dict[str, str]]:
    """A writer that goes on with an interrupted run, and how each finished case ended. The torn end is cut
    off.
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


def read_manifest(folder: Path) -> dict[str, Any]:
    """Raises ResultsError for a folder that is no run, or one of another schema."""
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf8"))
    except (FileNotFoundError, NotADirectoryError):
        raise ResultsError(f"{folder} is no run: it has no {MANIFEST}") from None
    except OSError as error:
        raise ResultsError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise ResultsError(
            f"{path} is {'damaged' if path.stat().st_size else 'empty'}; remove the run"
        ) from None
    schema = manifest.get("schema") if isinstance(manifest, dict) else None
    if schema != SCHEMA or isinstance(schema, bool):
        newer = "; a newer cellbench wrote it" if isinstance(schema, int) and schema > SCHEMA else ""
        raise ResultsError(f"{path} is of schema {schema!r}, and this version reads schema {SCHEMA}{newer}")
    if not isinstance(manifest.get("run"), str):
        raise ResultsError(f"{path} is damaged: it names no run")
    return manifest


def read_blocks(folder: Path) -> Iterator[dict[str, Any]]:
    """The run's blocks. A last line without its newline is dropped with a warning; any other damage raises
    ResultsError.
    """
    path = folder / BLOCKS
    if not path.exists():
        return
    lines = _bytes(path).split(b"\n")
    if lines.pop():
        warnings.warn(f"{path}: the last line was cut off while it was written; it is left out", stacklevel=2)
    for number, line in enumerate(lines, 1):
        try:
            yield decode(line)
        except BlockError as error:
            raise ResultsError(
                f"{path} line {number} is damaged: {error}; remove the line or the run"
            ) from None


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ResultsError(f"{path} cannot be read: {error.strerror}") from None


def runs(path: Path) -> list[Path]:
    """The run folders at a path: itself, or those in it, oldest first.

    Raises ResultsError where there is none, and where anything else lies among them; names that begin with a
    dot may.
    """
    if (path / MANIFEST).exists():
        return [path]
    found = visible(path)
    for folder in found:
        if not (folder / MANIFEST).exists():
            raise ResultsError(f"{folder} lies among runs and is none (it has no {MANIFEST}); move it away")
    if not found:
        raise ResultsError(f"no run in {str(path)!r}; `cellbench run` makes one, results=DIR says where")
    return found


def visible(parent: Path) -> list[Path]:
    """What lies in a folder of runs, by name, which is oldest first; what is hidden is a run that has not
    begun.
    """
    if not parent.is_dir():
        return []
    return sorted(path for path in parent.iterdir() if not path.name.startswith("."))


def load(path: str | Path | Iterable[str | Path]) -> pandas.DataFrame:
    """One tidy frame over any number of runs: a run's folder, a folder of runs, or several of them.

    One observation a row, with the columns of COLUMNS. Every row of a case has the status that the case ended
    with; one that is not ok has a row without a metric, and keeps what was measured before its end. `lag` is
    the position on any per-step axis (lag, optimiser step, epoch); a column that does not apply is null.
    """
    paths = [path] if isinstance(path, (str, Path)) else list(path)
    if not paths:
        raise ResultsError("there is no run to load; give a run's folder, or a folder of runs")
    return _tidy([run for p in paths for run in runs(Path(p))])


def _tidy(folders: list[Path]) -> pandas.DataFrame:
    """The frame of runs: from their blocks, and where a run has none from its table."""
    import pandas

    named: dict[str, Path] = {}
    for folder in folders:
        other = named.setdefault(read_manifest(folder)["run"], folder)
        if other is not folder:
            raise ResultsError(
                f"{other} and {folder} are the same run; every value would count twice, so leave one out"
            )
    written = {name: folder for name, folder in named.items() if _has_blocks(folder)}
    with _collecting_nothing():
        rows = tidy.frame((name, read_blocks(folder)) for name, folder in written.items())
    tables = [_table(name, folder) for name, folder in named.items() if name not in written]
    frames = [f for f in (*tidy.frames(tables), rows) if len(f)]
    return pandas.concat(frames, ignore_index=True) if len(frames) > 1 else (frames or [rows])[0]


@contextmanager
def _collecting_nothing() -> Iterator[None]:
    """Blocks hold no cycles, and the collector would look through all of them over and over: a third of the
    time.
    """
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


def _has_blocks(folder: Path) -> bool:
    """Whether the run is read from its blocks. Raises ResultsError for a table that is damaged or foreign,
    and for neither.
    """
    blocks, table = (folder / BLOCKS).exists(), folder / TABLE
    if table.exists():
        _check_footer(table)
    elif not blocks:
        raise ResultsError(f"{folder} holds no results: it has neither {BLOCKS} nor {TABLE}; remove the run")
    return blocks


def _check_footer(path: Path) -> None:
    """Raises ResultsError for a file that is no whole table of ours. Arrow's own look at it would take a
    millisecond a run.
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 8))
        end = file.read()
        length = int.from_bytes(end[:4], "little")
        footer = b""
        if end[4:] == MAGIC and length < size - 8:
            file.seek(size - 8 - length)
            footer = file.read(length)
    if not footer:
        raise ResultsError(f"{path} is damaged; remove it (where {BLOCKS} lies beside it nothing is lost)")
    for name in tidy.OLDEST:
        if name.encode() not in footer:
            raise ResultsError(f"{path} is no table of results: it has no column {name!r}; remove it")


def _table(run: str, folder: Path) -> Any:
    """Arrow's table of a run that has no blocks."""
    path = folder / TABLE
    try:
        table = tidy.unpack(path)
    except (OSError, ValueError) as error:
        raise ResultsError(f"{path} is damaged: {(str(error).splitlines() or [''])[0]:.100}") from None
    if other := set(table.column("run").unique().to_pylist()) - {run}:
        raise ResultsError(
            f"{path} holds rows of run {other.pop()!r}, and the manifest beside it is of {run!r}"
        )
    return table


def _synced(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _write_json(path: Path, value: dict[str, Any]) -> None:
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", encoding="utf8") as file:
        json.dump(value, file, indent=1, default=str)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
