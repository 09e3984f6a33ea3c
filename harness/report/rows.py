"""Where the rows behind a page lie: the Parquet tables of its runs."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

from .section import Section
from .table import Entry, Table

HEADING = "Rows behind this page"
NOTE = "Parquet, one observation a row: pandas.read_parquet(file), or harness.load(folder) for several runs."


def behind(tables: Iterable[Path], folder: Path) -> Section:
    """Links to files that lie below the working directory, as the page's folder does.

    Empty of others: a page that is handed on shall not tell where somebody's files lie.
    """
    here, folder = Path.cwd().resolve(), folder.resolve()
    found = [file.resolve() for file in tables if file.is_file()]
    near = [file for file in found if file.is_relative_to(here)] if folder.is_relative_to(here) else []
    rows = tuple(_row(Path(os.path.relpath(file, folder))) for file in near)
    return Section(HEADING, tables=(Table(HEADING, ("run", "file"), rows, NOTE),))


def _row(file: Path) -> tuple[Entry, Entry]:
    return Entry(file.parent.name), Entry(file.as_posix(), link=quote(file.as_posix()))
