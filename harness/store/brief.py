"""What a summary needs of any number of runs, for more rows than fit the memory: medians, and each case once.

A summary takes medians over processes of the median in each, so that it is the same of these rows as of all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import extras
from . import small
from .reader import BLOCKS, TABLE, run_folders
from .scan import located, of
from .table import frames
from .tidy import HEAD

if TYPE_CHECKING:
    import pandas

AT_ONCE, MOST = 1 << 25, 200  # bytes of tables, and runs
SERIES = ("run", "case", "metric", "unit", "process")  # a case is of one seed


def brief(path: str | Path | Iterable[str | Path], metrics: Sequence[str]) -> pandas.DataFrame:
    """A frame as `load` returns it, with a row for each series of these metrics: the median of its values.

    A case that has none of them has one row without a metric. Needs Polars; raises as `scan` does.
    """
    extras.requires("polars", "a summary of runs needs")
    import polars

    # of all runs at once, so that one that is there twice is told
    there = located(run_folders(path, "summarise"))
    parts = [
        _part(of(where, some), metrics)
        for where, group in groupby(there, lambda one: one[1])
        for some in _together([folder for folder, _ in group])
    ]

    medians, cases = (polars.concat(part) for part in zip(*parts, strict=True))
    rows = cases.join(medians, on=["run", "case"], how="left", maintain_order="left")
    absent = [polars.lit(None, polars.Int64).alias(name) for name in ("lag", "sample")]
    return frames([small.as_arrow(rows.with_columns(absent))])[0]


def _together(folders: list[Path]) -> Iterator[list[Path]]:
    """Runs that are read at once: one by one takes more time, all at once more memory."""
    some: list[Path] = []
    size = 0
    for folder in folders:
        some.append(folder)
        size += sum((folder / name).stat().st_size for name in (TABLE, BLOCKS) if (folder / name).exists())
        if size > AT_ONCE or len(some) >= MOST:
            yield some
            some, size = [], 0
    if some:
        yield some


def _part(rows: Any, metrics: Sequence[str]) -> tuple[Any, Any]:
    """(the medians of series, the cases with their definitions) of some runs."""
    import polars

    wanted = rows.filter(polars.col("metric").is_in(list(metrics)))
    medians = wanted.group_by(SERIES, maintain_order=True).agg(polars.col("value").median())
    cases = rows.select(HEAD).unique(["run", "case"], keep="first", maintain_order=True)
    collected = polars.collect_all([medians, cases])
    return collected[0], collected[1]
