"""The tidy frame as a Parquet table, with checksums, and back again."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .files import SMALL
from .tidy import COLUMNS, NONE, WHOLE, text_column, whole_column

if TYPE_CHECKING:
    import pandas

OLDEST = ("run", "case", "probe", "cell", "metric", "unit", "value", "status")  # columns of every version
MOST_ROWS = 10**8
MAGIC = b"PAR1"  # a Parquet file begins and ends with it


def footer(path: Path) -> bytes:
    """The footer of a Parquet file, which names its columns; empty for any other file.

    Read by hand: Arrow's own look at it would take a millisecond a run.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return b""
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 8))
        end = file.read() or b""  # the length of the footer, then MAGIC; None of a file of /proc
        length = int.from_bytes(end[:4], "little")
        if end[4:] != MAGIC or not length < min(size - 8, SMALL):
            return b""
        file.seek(size - 8 - length)
        return file.read(length) or b""


def pack(rows: pandas.DataFrame, path: Path) -> None:
    """Writes the frame as Parquet, its pages with checksums."""
    import pyarrow.parquet

    pyarrow.parquet.write_table(as_arrow(rows), path, write_page_checksum=True)


def schema() -> Any:
    """Arrow's, of the tidy frame."""
    import pyarrow

    return pyarrow.schema(types().items())


def as_arrow(rows: pandas.DataFrame) -> Any:
    """The frame as a table of Arrow."""
    import pyarrow

    schema = pyarrow.schema(types().items())
    try:
        return pyarrow.Table.from_pandas(rows, schema, preserve_index=False)
    except UnicodeEncodeError:  # a name or a reason with undecodable bytes: half a surrogate pair
        return pyarrow.Table.from_pandas(rows.map(_encodable), schema, preserve_index=False)


def types() -> dict[str, Any]:
    """Arrow's type of each column."""
    import pyarrow

    text = {name: pyarrow.string() for name in COLUMNS}
    return text | dict.fromkeys(WHOLE, pyarrow.int64()) | {"value": pyarrow.float64()}


def is_unicode(rows: pandas.DataFrame) -> bool:
    """Whether all text of the frame is, as Arrow wants it: a name of undecodable bytes is not."""
    values = {value for name in texts() for value in rows[name].unique()}
    try:
        "".join(filter(None, values)).encode()
    except UnicodeEncodeError:
        return False
    return True


def _encodable(value: Any) -> Any:
    return value.encode("utf8", "backslashreplace").decode() if isinstance(value, str) else value


def texts() -> list[str]:
    """The columns of text."""
    return [name for name in COLUMNS if name not in (*WHOLE, "value")]


def unpack(source: Any, first: int = 0, count: int | None = None) -> Any:
    """The Arrow table of a file, its text as dictionaries: all rows, or so many from the first wanted on.

    source is a path, or a file of Arrow. Raises ValueError or OSError for one that is damaged or foreign.
    """
    import pyarrow.parquet

    try:
        table = _read(source, texts(), first, count)
    except KeyError:  # of an older table, which has fewer columns
        names = pyarrow.parquet.read_schema(source).names
        table = _read(source, [name for name in texts() if name in names], first, count)
    table.validate(full=True)  # Arrow follows an index of a dictionary wherever it leads
    names = table.column_names  # made anew each time it is asked for
    if missing := [name for name in OLDEST if name not in names]:
        raise ValueError(f"it has no column {missing[0]!r}")
    return table


def _read(source: Any, texts: list[str], first: int, count: int | None) -> Any:
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(source, read_dictionary=texts, page_checksum_verification=True) as file:
        if file.metadata.num_rows > MOST_ROWS:  # which a few bytes can claim, and make of a repeated value
            raise ValueError(f"it has {file.metadata.num_rows:,} rows; at most {MOST_ROWS:,} are read")
        if count is None:
            return file.read(use_threads=False)
        groups, begin = _groups(file, first, count)
        rows = file.read_row_groups(groups, use_threads=False).slice(first - begin, count)
        if rows.num_rows != count:
            raise ValueError(f"it has no rows {first:,} to {first + count:,}")
        return rows


def _groups(file: Any, first: int, count: int) -> tuple[list[int], int]:
    """(the row groups that hold these rows, the first row of them)."""
    groups: list[int] = []
    begin = at = 0
    for number in range(file.metadata.num_row_groups):
        size = file.metadata.row_group(number).num_rows
        if at < first + count and at + size > first:
            begin = begin if groups else at
            groups.append(number)
        at += size
    return groups, begin


def frames(tables: Iterable[Any]) -> list[pandas.DataFrame]:
    """The frames of Arrow's tables, those of one schema together.

    A column that a newer version added is null in the frame of an older table.
    """
    import pandas
    import pyarrow

    alike: dict[Any, list[Any]] = {}
    for table in tables:
        alike.setdefault(table.schema.remove_metadata(), []).append(table.replace_schema_metadata())
    result = []
    for same in alike.values():
        table = pyarrow.concat_tables(same)
        names = table.column_names
        columns = {n: table.column(n) if n in names else pyarrow.nulls(table.num_rows) for n in COLUMNS}
        result.append(
            pandas.DataFrame({name: _column(name, column) for name, column in columns.items()}, copy=False)
        )
    return result


def _column(name: str, column: Any) -> Any:
    """A column of the frame from one of Arrow's, whose text is held as a dictionary."""
    import numpy as np
    import pyarrow

    if name == "value":
        return column.cast(pyarrow.float64()).to_numpy()
    if name in WHOLE:
        return whole_column(column.cast(pyarrow.int64()).fill_null(NONE).to_numpy())
    if pyarrow.types.is_null(column.type):
        return text_column((), np.zeros(len(column), int))
    if not pyarrow.types.is_dictionary(column.type):
        raise ValueError(f"its column {name!r} is of {column.type}, not text")
    encoded = column.unify_dictionaries().combine_chunks()
    values = encoded.dictionary.to_pylist()
    # null points one past the values, where text_column holds None
    return text_column(values, encoded.indices.fill_null(len(values)).to_numpy())
