"""Runs as a lazy frame of Polars: what is asked of it is read from the tables, and nothing else.

The table of a run is taken where it is as new as the run's blocks; other runs, such as one under way, are
read from their blocks.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import extras
from . import packed
from .files import ResultsError
from .reader import MACHINE, TABLE, check_footer, frame_of, is_current, machines, read_manifest, run_folders
from .small import schema
from .table import as_arrow

if TYPE_CHECKING:
    import polars


def scan(path: str | Path | Iterable[str | Path]) -> polars.LazyFrame:
    """The rows of `load`, with the same columns, as a lazy frame over a run, a folder of runs, or several.

    Text is String, whole numbers are Int64, values Float64; a value that is NaN is null.
    Raises PackageMissing without Polars, and ResultsError as `load` does; a table that is damaged inside
    raises Polars' own error when it is collected.
    """
    extras.requires("polars", "harness.scan needs")
    import polars

    folders = run_folders(path, "scan")
    parts = [
        of(where, [folder for folder, _ in group])
        for where, group in groupby(located(folders), lambda one: one[1])
    ]
    rows = polars.concat(parts) if len(parts) > 1 else parts[0]
    names = machines(map(read_manifest, folders))
    machine = polars.col("run").replace_strict(list(names), list(names.values()), return_dtype=polars.String)
    return rows.with_columns(machine.alias(MACHINE))


def located(folders: list[Path]) -> list[tuple[Path, Path | bool]]:
    """Each run's folder, and where its rows are: a pack, its table (True), or its blocks (False).

    Raises ResultsError for a run that is there twice, and for a damaged table.
    """
    return [(folder, _where(folder)) for folder in _each_once(folders)]


def of(where: Path | bool, folders: list[Path]) -> polars.LazyFrame:
    """The rows of runs that lie in one pack, in tables of their own (True), or in blocks (False)."""
    import polars

    if where is True:
        return _tables([folder / TABLE for folder in folders])
    if where is False:
        return _blocks(folders)
    rows, names = _tables([where / packed.TABLE]), [folder.name for folder in folders]
    if len(names) == len(packed.read(where).runs):
        return rows
    return rows.filter(polars.col("run").is_in(names))


def _tables(files: list[Path]) -> polars.LazyFrame:
    import polars

    columns: Any = {"missing_columns": "insert", "extra_columns": "ignore"}  # of another version's tables
    return polars.scan_parquet(files, schema=schema(), glob=False, **columns)


def _blocks(folders: list[Path]) -> polars.LazyFrame:
    import polars

    frame = polars.from_arrow(as_arrow(frame_of(folders)), schema_overrides=schema())
    assert isinstance(frame, polars.DataFrame)
    return frame.lazy()


def _where(folder: Path) -> Path | bool:
    """The pack of a run; else whether its table holds all that its blocks do.

    Raises ResultsError for a table that is damaged.
    """
    if pack := packed.of_run(folder):
        check_footer(pack.folder / packed.TABLE)
        return pack.folder
    return is_current(folder)


def _each_once(folders: list[Path]) -> list[Path]:
    by_name: dict[str, Path] = {}
    for folder in folders:
        if by_name.setdefault(folder.name, folder) is not folder:
            raise ResultsError(
                f"{by_name[folder.name]} and {folder} are the same run; every value would count twice, so"
                " leave one out"
            )
    return list(by_name.values())
