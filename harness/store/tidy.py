"""Blocks as one tidy frame, one observation a row, for any number of runs at once; and the frame as a Parquet
table.

A series is repeated into its rows by whole columns, never row by row: a million rows take seconds.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pandas

DEFINITION = (
    "probe",
    "cell",
    "options",
    "variant",
    "backend",
    "device",
    "dtype",
    "threads",
    "steps",
    "batch",
    "input_size",
    "hidden_size",
    "match",
    "direction",
    "task",
    "seed",
)
COLUMNS = (
    "run",
    "case",
    *DEFINITION[:5],
    "implementation",
    *DEFINITION[5:],
    "metric",
    "unit",
    "value",
    "lag",
    "process",
    "sample",
    "status",
    "reason",
)
WHOLE = ("threads", "steps", "batch", "input_size", "hidden_size", "seed", "lag", "process", "sample")
HEAD = tuple(c for c in COLUMNS if c not in ("metric", "unit", "value", "lag", "process", "sample"))
OLDEST = (
    "run",
    "case",
    "probe",
    "cell",
    "metric",
    "unit",
    "value",
    "status",
)  # what a table of any version has
NONE = -(2**62)  # stands for null in a column of whole numbers


def frame(runs: Iterable[tuple[str, Iterable[dict[str, Any]]]]) -> pandas.DataFrame:
    """The rows of runs, each a name and its decoded blocks."""
    rows = _Rows()
    for run, blocks in runs:
        rows.add_run(run, list(blocks))
    return rows.frame()


class _Rows:
    """Series side by side: for each the head it belongs to, its metric and how many values; and all values in
    a row.
    """

    def __init__(self) -> None:
        self.heads: list[tuple[Any, ...]] = []
        self.metrics: dict[tuple[str | None, str | None], int] = {}
        self.head, self.metric, self.count = array("q"), array("q"), array("q")
        self.process, self.sample = array("q"), array("q")
        self.values, self.lags = array("d"), [(0, array("q"))]

    def add_run(self, run: str, blocks: list[dict[str, Any]]) -> None:
        """A case that was measured again counts once, as its last block says."""
        last = {block["case"]: block for block in blocks}
        heads: dict[tuple[str, str | None], int] = {}
        for block in blocks:
            end = last[block["case"]]
            if block["attempt"] != end["attempt"]:
                continue
            key = (block["case"], block["implementation"])
            if key not in heads:
                heads[key] = len(self.heads)
                self.heads.append(_head(run, block, end))
            for series in block["series"]:
                self.add_series(heads[key], series)
            if not block["series"] and block["done"] and block["status"] != "ok":
                self.add_series(heads[key], {"metric": None, "unit": None, "values": (float("nan"),)})

    def add_series(self, head: int, series: dict[str, Any]) -> None:
        values, lag, process = series["values"], series.get("lag"), series.get("process")
        self.head.append(head)
        self.metric.append(self.metrics.setdefault((series["metric"], series["unit"]), len(self.metrics)))
        self.count.append(len(values))
        self.process.append(NONE if process is None else process)
        self.sample.append(NONE if lag is None else series.get("sample", 0))  # NONE: they are counted
        if lag is not None:
            self.lags.append((len(self.values), array("q", lag)))
        self.values.extend(values)

    def frame(self) -> pandas.DataFrame:
        import numpy as np
        import pandas

        count = np.array(self.count, int)
        head, metric = (
            np.repeat(np.array(self.head, int), count),
            np.repeat(np.array(self.metric, int), count),
        )
        columns: dict[str, Any] = {}
        for name, values in zip(
            HEAD, zip(*self.heads, strict=True) if self.heads else [()] * len(HEAD), strict=True
        ):
            columns[name] = (
                _whole([NONE if v is None else v for v in values], head)
                if name in WHOLE
                else _text(values, head)
            )
        pairs = list(zip(*self.metrics, strict=True)) or [(), ()]
        columns["metric"], columns["unit"] = (_text(values, metric) for values in pairs)
        columns["value"] = np.array(self.values, float)
        columns["process"] = _whole(self.process, np.repeat(np.arange(len(count)), count))
        place = np.arange(len(head)) - np.repeat(np.cumsum(count) - count, count)
        sample = np.repeat(np.array(self.sample, int), count)
        columns["sample"] = _whole(np.where(sample == NONE, place, sample))
        lag = np.full(len(head), NONE)
        for start, lags in self.lags:
            lag[start : start + len(lags)] = lags
        columns["lag"] = _whole(lag)
        return pandas.DataFrame({name: columns[name] for name in COLUMNS}, copy=False)


def _head(run: str, block: dict[str, Any], end: dict[str, Any]) -> tuple[Any, ...]:
    """The columns that all rows of a block share; `end` is the last block of its case."""
    status, reason = end["status"], end["reason"]
    if not end["done"]:
        status, reason = "skipped", "the run ended before this case; cellbench run resume=RUN goes on with it"
    own = {
        "run": run,
        "case": block["case"],
        "implementation": block["implementation"],
        "status": status,
        "reason": reason,
    }
    definition = block["definition"]
    return tuple(own[name] if name in own else definition.get(name) for name in HEAD)


def _text(values: Iterable[str | None], index: np.ndarray) -> Any:
    """A column of objects; null is None."""
    import numpy as np
    import pandas

    return pandas.Series(np.array([*values, None], object)[index], dtype=object)


def _whole(values: Any, index: Any = slice(None)) -> Any:
    """A column of whole numbers, of which some may be null."""
    import numpy as np
    import pandas

    numbers = np.array(values, np.int64)[index]
    missing = numbers == NONE
    return pandas.arrays.IntegerArray(np.where(missing, 0, numbers), missing)


def pack(rows: pandas.DataFrame, path: Path) -> None:
    """Writes the frame as Parquet, its pages with checksums."""
    import pyarrow
    import pyarrow.parquet

    types = (
        {name: pyarrow.string() for name in COLUMNS}
        | dict.fromkeys(WHOLE, pyarrow.int64())
        | {"value": pyarrow.float64()}
    )
    table = pyarrow.Table.from_pandas(rows, pyarrow.schema(types.items()), preserve_index=False)
    pyarrow.parquet.write_table(table, path, write_page_checksum=True)


def unpack(path: Path) -> Any:
    """The Arrow table of a file, its text as dictionaries. Raises ValueError or OSError for one that is
    damaged or foreign.
    """
    import pyarrow.parquet

    texts = [name for name in COLUMNS if name not in (*WHOLE, "value")]
    try:
        table = _read(path, texts)
    except KeyError:  # of an older table, which has fewer columns
        names = pyarrow.parquet.read_schema(path).names
        table = _read(path, [name for name in texts if name in names])
    if missing := [name for name in OLDEST if name not in table.column_names]:
        raise ValueError(f"it has no column {missing[0]!r}")
    return table


def _read(path: Path, texts: list[str]) -> Any:
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path, read_dictionary=texts, page_checksum_verification=True) as file:
        return file.read(use_threads=False)


def frames(tables: Iterable[Any]) -> list[pandas.DataFrame]:
    """The frames of Arrow's tables, those of one schema together; columns that came later than a table are
    null in it.
    """
    import pandas
    import pyarrow

    alike: dict[Any, list[Any]] = {}
    for table in tables:
        alike.setdefault(table.schema.remove_metadata(), []).append(table.replace_schema_metadata())
    found = []
    for some in alike.values():
        table = pyarrow.concat_tables(some)
        columns = {
            n: table.column(n) if n in table.column_names else pyarrow.nulls(table.num_rows) for n in COLUMNS
        }
        found.append(
            pandas.DataFrame({name: _column(name, column) for name, column in columns.items()}, copy=False)
        )
    return found


def _column(name: str, column: Any) -> Any:
    """A column of the frame from one of Arrow's, whose text is held as a dictionary."""
    import numpy as np
    import pyarrow

    if name == "value":
        return column.cast(pyarrow.float64()).to_numpy()
    if name in WHOLE:
        return _whole(column.cast(pyarrow.int64()).fill_null(NONE).to_numpy())
    if pyarrow.types.is_null(column.type):
        return _text((), np.zeros(len(column), int))
    if not pyarrow.types.is_dictionary(column.type):
        raise ValueError(f"its column {name!r} is of {column.type}, not text")
    whole = column.unify_dictionaries().combine_chunks()
    values = whole.dictionary.to_pylist()
    return _text(values, whole.indices.fill_null(len(values)).to_numpy())
