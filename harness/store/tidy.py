"""Blocks as one tidy frame, one observation a row, for any number of runs at once.

A series is repeated into its rows by whole columns, never row by row: a million rows take seconds.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
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
    *("run", "case"),
    *DEFINITION[:5],
    "implementation",
    *DEFINITION[5:],
    *("metric", "unit", "value", "lag", "process", "sample", "status", "reason"),
)
WHOLE = ("threads", "steps", "batch", "input_size", "hidden_size", "seed", "lag", "process", "sample")
HEAD = tuple(c for c in COLUMNS if c not in ("metric", "unit", "value", "lag", "process", "sample"))
LARGEST = (
    1e100  # of a value that a reader takes: squares and ratios of larger ones leave the range of float64
)
NONE = -(2**62)  # stands for null in a column of whole numbers


def frame(runs: Iterable[tuple[str, Iterable[dict[str, Any]]]]) -> pandas.DataFrame:
    """The rows of runs, each a name and its decoded blocks."""
    rows = _Rows()
    for run, blocks in runs:
        rows.add_run(run, list(blocks))
    return rows.frame()


class _Rows:
    """Series side by side, each with its head, metric and number of values; all values in one array."""

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
        # without a lag every value is a sample of its own, and frame() counts them
        self.sample.append(NONE if lag is None else series.get("sample") or 0)
        if lag is not None:
            self.lags.append((len(self.values), array("q", lag)))
        self.values.extend(values)

    def _by_column(self) -> Iterable[tuple[Any, ...]]:
        return zip(*self.heads, strict=True) if self.heads else [()] * len(HEAD)

    def frame(self) -> pandas.DataFrame:
        """All rows; every column is repeated from its series at once."""
        import numpy as np
        import pandas

        count = np.array(self.count, int)
        head, metric = (
            np.repeat(np.array(self.head, int), count),
            np.repeat(np.array(self.metric, int), count),
        )
        columns = {
            name: whole_column([NONE if v is None else v for v in values], head)
            if name in WHOLE
            else text_column(values, head)
            for name, values in zip(HEAD, self._by_column(), strict=True)
        }
        pairs = list(zip(*self.metrics, strict=True)) or [(), ()]
        columns["metric"], columns["unit"] = (text_column(values, metric) for values in pairs)
        columns["value"] = np.array(self.values, float)
        columns["process"] = whole_column(self.process, np.repeat(np.arange(len(count)), count))
        # the position of a value inside its series
        place = np.arange(len(head)) - np.repeat(np.cumsum(count) - count, count)
        sample = np.repeat(np.array(self.sample, int), count)
        columns["sample"] = whole_column(np.where(sample == NONE, place, sample))
        lag = np.full(len(head), NONE)
        for start, lags in self.lags:
            lag[start : start + len(lags)] = lags
        columns["lag"] = whole_column(lag)
        return pandas.DataFrame({name: columns[name] for name in COLUMNS}, copy=False)


def _head(run: str, block: dict[str, Any], end: dict[str, Any]) -> tuple[Any, ...]:
    """The columns that all rows of a block share; `end` is the last block of its case."""
    status, reason = end["status"], end["reason"]
    if not end["done"]:
        status, reason = "skipped", "the run ended before this case; cellbench run resume=RUN goes on with it"
    of_run = {
        "run": run,
        "case": block["case"],
        "implementation": block["implementation"],
        "status": status,
        "reason": reason,
    }
    definition = block["definition"]
    return tuple(of_run[name] if name in of_run else definition.get(name) for name in HEAD)


def text_column(values: Iterable[str | None], index: np.ndarray) -> Any:
    """A column of objects; null is None."""
    import numpy as np
    import pandas

    return pandas.Series(np.array([*values, None], object)[index], dtype=object, copy=False)


def whole_column(values: Any, index: Any = slice(None)) -> Any:
    """A column of whole numbers, of which some may be null."""
    import numpy as np
    import pandas

    numbers = np.array(values, np.int64)[index]
    missing = numbers == NONE
    return pandas.arrays.IntegerArray(np.where(missing, 0, numbers), missing)
