"""Many small tables read at once by Polars, where it is installed: Arrow takes a millisecond for each.

Polars checks no page. So it is given only what has the hash that its run's manifest names. Whatever it
does not read as expected is left to Arrow, which says what is wrong.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import files
from .table import MOST_ROWS, texts, types

if TYPE_CHECKING:
    import polars

MOST_BYTES = 1 << 16  # of a table that takes longer to open than to read
AT_ONCE = 500
FEWEST = 50  # tables for which Polars is worth its import


def is_small(path: Path) -> bool:
    """Whether a table may be read with others; one that is gone may not."""
    try:
        return path.stat().st_size <= MOST_BYTES
    except OSError:
        return False


def read(paths: Mapping[str, Path], hashes: Mapping[str, str | None]) -> Any:
    """Arrow's table of the rows of runs, given by name with their tables, each held against its hash.

    None where one has another hash or other columns, holds no row or those of another run, or is damaged.
    """
    import polars
    from polars.exceptions import PanicException, PolarsError

    try:
        contents = {name: files.read(path, MOST_BYTES) for name, path in paths.items()}
    except OSError:
        return None
    if any(hashlib.sha256(content).hexdigest() != hashes[name] for name, content in contents.items()):
        return None
    try:
        scanned = polars.scan_parquet([*contents.values()], schema=schema(), n_rows=MOST_ROWS)
        rows = scanned.collect().rechunk()
    except (PolarsError, PanicException, TypeError):  # the last of an old version, which takes no content
        return None
    runs = rows["run"].rle().struct.field("value").to_list()
    return as_arrow(rows) if runs == list(paths) and len(rows) < MOST_ROWS else None


def schema() -> Any:
    """Polars' types of the columns."""
    import polars

    kinds = {"string": polars.String, "int64": polars.Int64, "double": polars.Float64}
    return {name: kinds[str(kind)] for name, kind in types().items()}


def as_arrow(rows: polars.DataFrame) -> Any:
    """Arrow's table of a frame of Polars, its text as dictionaries of plain text, as `frames` takes it."""
    import polars
    import pyarrow

    kind = pyarrow.dictionary(pyarrow.int32(), pyarrow.string())
    table = rows.with_columns(polars.col(texts()).cast(polars.Categorical)).to_arrow()
    for name in texts():
        table = table.set_column(table.schema.get_field_index(name), name, table.column(name).cast(kind))
    return table
