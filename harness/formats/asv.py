"""asv's results (version 2): `results/MACHINE/COMMIT-ENVIRONMENT.json`, times of one commit on one machine.

A benchmark has a result for each combination of its parameters: the median, and its samples where they were
recorded. What kind it is, its name says: asv times what is called time_..., Time... or timeraw_...
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

from ..store import ResultsError
from ._brought import Benchmark, Brought, name_of, seconds

VERSION = 2
TIMES = re.compile(r"(time(raw)?_|Time[A-Z_].*)")
KEY = ("machine", "arch", "cpu", "num_cpu", "os", "ram", "python")
# a result of version 1 has no list of columns, and these entries that no other file has
OLD = {"commit_hash", "requirements"}
MOST = 100_000  # combinations of one benchmark


def is_one(content: dict[str, Any]) -> bool:
    """Whether this is a result of asv, of any version."""
    has_columns = isinstance(content.get("result_columns"), list)
    return isinstance(content.get("results"), dict) and (has_columns or content.keys() >= OLD)


def brought(content: dict[str, Any], file: Path) -> Brought:
    """Its benchmarks of times, one for each combination of parameters; a failed one has its reason."""
    _check(content.get("version"), file)
    machine, benchmarks, left_out = content.get("params") or {}, [], []
    for name, row in content["results"].items():
        if not TIMES.match(name.rpartition(".")[2]):
            left_out.append(f"{name}: no times")
            continue
        columns = dict(zip(content["result_columns"], row, strict=False))
        benchmarks += list(_combinations(name_of(name), columns))
    return Brought(
        "asv",
        benchmarks,
        str(VERSION),
        datetime.fromtimestamp(content["date"] / 1000, UTC).isoformat() if content.get("date") else None,
        {"id": content["commit_hash"]},
        {"cpu": machine.get("cpu"), "python": content.get("python")},
        {name: machine[name] for name in KEY if machine.get(name)} or None,
        left_out,
    )


def _check(version: Any, file: Path) -> None:
    """Raises ResultsError for another version, and ValueError for what is none."""
    if not isinstance(version, int):
        raise ValueError
    if version != VERSION:
        instead = "`asv update` writes it anew" if version < VERSION else "a newer cellbench may read it"
        raise ResultsError(
            f"{file} is a result of asv of version {version}, and version {VERSION} is read; {instead}"
        )


def _combinations(name: str, columns: dict[str, Any]) -> Iterator[Benchmark]:
    parameters = columns.get("params") or []
    if math.prod(map(len, parameters)) > MOST:
        raise ValueError
    names = [f"{name}({', '.join(map(name_of, one))})" if one else name for one in product(*parameters)]
    results, samples = columns["result"], columns.get("samples")
    for number, one in enumerate(names):
        value = None if results is None else results[number]
        if value is None or (isinstance(value, float) and math.isnan(value)):
            reason = "asv has no result: it failed" if value is None else "asv has no result: it was skipped"
            yield Benchmark(one, {}, reason=reason)
        elif samples and samples[number]:
            yield Benchmark(one, {"seconds": [seconds(samples[number])]})
        else:
            yield Benchmark(one, {"seconds_median": [seconds([value])]})
