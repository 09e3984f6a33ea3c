"""Runs read from disk: manifests, blocks, and one tidy frame over any number of runs."""

from __future__ import annotations

import gc
import hashlib
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import extras
from . import files, manifest, packed, pages, remote, small, sweeps, table, tidy
from .block import BlockError, decode
from .files import ResultsError
from .manifest import BLOCKS, MANIFEST, TABLE
from .provenance import machine_name

if TYPE_CHECKING:
    import pandas

SCHEMA = 1
MACHINE = "machine"  # the column that is not stored with the rows, but once in a run's manifest


def read_manifest(folder: Path) -> dict[str, Any]:
    """A run's manifest. Raises ResultsError for a folder that is no run, or one of another schema."""
    path = folder / MANIFEST
    try:
        content = packed.content(path)
    except (FileNotFoundError, NotADirectoryError):
        raise ResultsError(f"{folder} is no run: it has no {MANIFEST}") from None
    except OSError as error:
        raise ResultsError(f"{path} cannot be read: {error.strerror}") from None
    try:
        found = files.parse(content)
    except ValueError as error:
        state = f"damaged ({error})" if content else "empty"
        raise ResultsError(f"{path} is {state:.200}; remove the run") from None
    schema = found.get("schema") if isinstance(found, dict) else None
    if schema != SCHEMA or not isinstance(schema, int) or isinstance(schema, bool):
        newer = "; a newer cellbench wrote it" if isinstance(schema, int) and schema > SCHEMA else ""
        raise ResultsError(
            f"{path} is of schema {schema!r:.60}, and this version reads schema {SCHEMA}{newer}"
        )
    try:
        manifest.check(found)
    except ValueError as error:
        raise ResultsError(f"{path} is damaged: {error}; remove the run") from None
    return found


def read_blocks(folder: Path) -> Iterator[dict[str, Any]]:
    """The run's blocks, in the order in which they were written.

    A last line without its newline is dropped with a warning: a kill tears no other line. Any other damage
    raises ResultsError.
    """
    path = folder / BLOCKS
    if not packed.exists(path):
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
        return packed.content(path, files.LARGE)
    except OSError as error:
        raise ResultsError(f"{path} cannot be read: {error.strerror}") from None


def runs(path: Path) -> list[Path]:
    """The run folders at a path: itself, those in it, oldest first, or those of a sweep, in its order.

    Raises ResultsError where there is none, and where anything else lies among them. Names that begin with a
    dot are passed over. A packed run has the path that it had. What is at an address, such as
    s3://bucket/runs, is brought here first.
    """
    if remote.is_remote(path):
        return runs(remote.brought(path))
    if is_run(path):
        return [path]
    if packed.is_pack(path):
        return [path.parent / name for name in packed.read(path).runs]
    folders = sweeps.read(path).runs() if sweeps.is_sweep(path) else visible(path)
    for folder in folders:
        if not is_run(folder):
            inside = folder.is_dir() and any((one / MANIFEST).exists() for one in folder.iterdir())
            instead = f"its folders are runs: give {folder}" if inside else "move it away"
            raise ResultsError(f"{folder} lies among runs and is none (it has no {MANIFEST}); {instead}")
    if not folders:
        raise ResultsError(f"no run in {str(path)!r}; `cellbench run` makes one, results=DIR says where")
    return folders


def is_run(folder: Path) -> bool:
    """Whether there is a run in a folder, or was, and a pack holds it now."""
    return packed.exists(folder / MANIFEST)


def visible(parent: Path) -> list[Path]:
    """The entries of a folder of runs by name, so oldest first; a hidden one is a run that has not begun.

    A page may stand among runs, in a folder of its own or beside them, and is none. A pack gives the runs
    that it holds.
    """
    if not parent.is_dir():
        return []
    page = pages.written(parent)
    entries = [path for path in parent.iterdir() if not path.name.startswith(".") and path.name not in page]
    # a comparison's page lies in its run's own folder
    there = {p for p in entries if (p / MANIFEST).exists() or not (p / pages.MARKER).exists()}
    packs = {p for p in there if packed.is_pack(p)}
    return sorted(there - packs | (set(packed.beside(parent).values()) if packs else set()))


def load(path: str | Path | Iterable[str | Path]) -> pandas.DataFrame:
    """One tidy frame over any number of runs: a run's folder, a folder of runs, or several of them.

    One observation a row, with the columns of COLUMNS, and MACHINE, the one that the run was made on. Every
    row of a case has the status that the case ended with; one that is not ok has a row without a metric, and
    keeps what was measured before its end. `lag` is the position on any per-step axis (lag, optimiser step,
    epoch); a column that does not apply is null.
    """
    with _collecting_nothing():
        folders = run_folders(path, "load")
        manifests = [read_manifest(folder) for folder in folders]
        frame = frame_of(folders, manifests)
        frame[MACHINE] = _machine_of(frame["run"], machines(manifests))
    return frame


def _machine_of(runs: pandas.Series, names: dict[str, str]) -> pandas.Series:
    """The machine of each row, from the name of its run."""
    import pandas

    codes, values = pandas.factorize(runs)
    return tidy.text_column([names.get(run) for run in values], codes)


def machines(manifests: Iterable[dict[str, Any]]) -> dict[str, str]:
    """The name of the machine of each run."""
    return {found["run"]: machine_name(found) for found in manifests}


def run_folders(path: str | Path | Iterable[str | Path], to: str) -> list[Path]:
    """The run folders at a path, or at several, to do a thing. Raises ResultsError, as `runs` does."""
    paths = [path] if isinstance(path, (str, Path)) else list(path)
    if not paths:
        raise ResultsError(f"there is no run to {to}; give a run's folder, or a folder of runs")
    return [run for p in paths for run in runs(Path(p))]


def frame_of(folders: list[Path], manifests: list[dict[str, Any]] | None = None) -> pandas.DataFrame:
    """The frame of run folders: from their blocks, and where a run has none from its table."""
    import pandas

    by_name: dict[str, Path] = {}
    hashes: dict[str, str | None] = {}
    for folder, found in zip(folders, manifests or map(read_manifest, folders), strict=True):
        hashes[found["run"]] = found.get("table")
        other = by_name.setdefault(found["run"], folder)
        if other is not folder:
            raise ResultsError(
                f"{other} and {folder} are the same run; every value would count twice, so leave one out"
            )
    written = {name: folder for name, folder in by_name.items() if _has_blocks(folder)}
    with _collecting_nothing():
        rows = tidy.frame((name, read_blocks(folder)) for name, folder in written.items())
    others = {name: folder for name, folder in by_name.items() if name not in written}
    tables = [one for runs in _read_together(others, hashes) for one in _tables_of(runs, hashes)]
    frames = [f for f in (*table.frames(tables), rows) if len(f)]
    return pandas.concat(frames, ignore_index=True) if len(frames) > 1 else (frames or [rows])[0]


@contextmanager
def _collecting_nothing() -> Iterator[None]:
    """Turns the collector off: what is read holds no cycles, and it would take a third of the time."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


def _read_together(
    folders: dict[str, Path], hashes: dict[str, str | None]
) -> Iterator[list[tuple[str, Path, packed.Pack | None]]]:
    """Runs in a row that lie in one pack, together, and those in small tables; any other alone."""
    fast = extras.there("polars")

    def place(one: tuple[str, Path, packed.Pack | None]) -> Path | bool:
        name, folder, pack = one
        return pack.folder if pack else fast and bool(hashes[name]) and small.is_small(folder / TABLE)

    of = ((name, folder, packed.of_run(folder)) for name, folder in folders.items())
    for where, group in groupby(of, key=place):
        runs = list(group)
        most = small.AT_ONCE if where is True else len(runs) if where else 1
        yield from (runs[k : k + most] for k in range(0, len(runs), most))


def _tables_of(runs: list[tuple[str, Path, packed.Pack | None]], hashes: dict[str, str | None]) -> list[Any]:
    """Arrow's tables of some runs: one where they lie in a pack, or could be read at once."""
    if pack := runs[0][2]:
        return [pack.table(name for name, *_ in runs)]
    files = {name: folder / TABLE for name, folder, _ in runs}
    if len(files) >= small.FEWEST and (rows := small.read(files, hashes)) is not None:
        return [rows]
    return [_table(name, folder, hashes[name]) for name, folder, _ in runs]


def _has_blocks(folder: Path) -> bool:
    """Whether the run is read from its blocks; one of a pack is where its table is not exact.

    Raises ResultsError for a table that is damaged or foreign, and for a run that has neither.
    """
    if pack := packed.of_run(folder):
        return not pack.runs[folder.name].exact
    blocks, table_ = (folder / BLOCKS).exists(), folder / TABLE
    if table_.exists():  # looked at beside blocks too, so that damage is named before the blocks are removed
        check_footer(table_)
    elif not blocks:
        raise ResultsError(f"{folder} holds no results: it has neither {BLOCKS} nor {TABLE}; remove the run")
    return blocks


def is_current(folder: Path) -> bool:
    """Whether a run's table holds all that its blocks do. Raises ResultsError for one that is damaged."""
    table, blocks = folder / TABLE, folder / BLOCKS
    if not table.exists():
        return False
    check_footer(table)
    # the table is written after the last block; a run that was gone on with has newer blocks
    return not blocks.exists() or table.stat().st_mtime_ns >= blocks.stat().st_mtime_ns


def check_footer(path: Path) -> None:
    """Raises ResultsError for what is no table of results, as far as its footer tells."""
    try:
        footer = table.footer(path)
    except OSError as error:
        raise ResultsError(f"{path} cannot be read: {error.strerror}") from None
    if not footer:
        raise ResultsError(f"{path} is damaged; remove it (where {BLOCKS} lies beside it nothing is lost)")
    for name in table.OLDEST:
        if name.encode() not in footer:
            raise ResultsError(f"{path} is no table of results: it has no column {name!r}; remove it")


def _table(run: str, folder: Path, sha256: str | None) -> Any:
    """Arrow's table of a run that has no blocks; held against its hash where the manifest has one.

    Arrow's own checksums are left out by versions of it, and cover no footer.
    """
    import pyarrow

    path = folder / TABLE
    content = _bytes(path)
    try:
        rows = table.unpack(pyarrow.BufferReader(content))
    except (OSError, ValueError) as error:
        raise ResultsError(f"{path} is damaged: {(str(error).splitlines() or [''])[0]:.100}") from None
    if other := set(rows.column("run").unique().to_pylist()) - {run}:
        raise ResultsError(
            f"{path} holds rows of run {other.pop()!r}, and the manifest beside it is of {run!r}"
        )
    if sha256 and hashlib.sha256(content).hexdigest() != sha256:
        raise ResultsError(f"{path} is damaged: its hash is not the one of the manifest; get the run again")
    return rows
