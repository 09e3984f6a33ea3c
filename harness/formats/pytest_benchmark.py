"""pytest-benchmark's JSON: `pytest --benchmark-json=FILE`, and its storage `.benchmarks`.

A benchmark's group is its task, so that equal names of two groups stay apart.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .. import store
from ..screen import one_line
from . import pyperf
from ._brought import Benchmark, Brought, name_of, seconds

DIGITS = 15  # of a whole number: no size, seed or number of threads has more
NO_COMMIT = (("id", "unversioned"), ("id", "unknown"))  # its words for a folder without a revision
KEY = ("node", "machine", "system", "python_version")


def is_one(content: dict[str, Any]) -> bool:
    """Whether this is its JSON; that of Google Benchmark, which has a context, is not."""
    return "benchmarks" in content and "context" not in content and not pyperf.is_one(content)


def brought(content: dict[str, Any], file: Path) -> Brought:
    """Its benchmarks, each of one process."""
    info, commit = content.get("machine_info") or {}, content.get("commit_info") or {}
    return Brought(
        "pytest-benchmark",
        [_benchmark(b) for b in content["benchmarks"]],
        content.get("version"),
        content.get("datetime"),
        {name: value for name, value in commit.items() if (name, value) not in NO_COMMIT},
        {"cpu": info.get("cpu", {}).get("brand_raw"), "python": info.get("python_version")},
        _machine_key(info),
    )


def _machine_key(info: dict[str, Any]) -> dict[str, Any] | None:
    cpu = info.get("cpu") or {}
    key = {name: info[name] for name in KEY if info.get(name)}
    key |= {f"cpu {name}": cpu[name] for name in ("brand_raw", "count") if cpu.get(name)}
    return key or None


def _benchmark(benchmark: dict[str, Any]) -> Benchmark:
    """The columns are those that our own benchmarks write to extra_info; another's is known by its name."""
    extra, group = benchmark["extra_info"], benchmark.get("group")
    columns = {name: _column(name, value) for name, value in extra.items() if name in store.DEFINITION}
    implementation = extra.get("implementation")
    return Benchmark(
        name_of(benchmark["fullname"]),
        _times(benchmark["stats"]),
        one_line(group) if isinstance(group, str) else "",
        {name: value for name, value in columns.items() if value is not None},
        one_line(implementation) if isinstance(implementation, str) else None,
    )


def _column(name: str, value: Any) -> int | str | None:
    """A value of extra_info as the column of that name holds it.

    None where the benchmarks of somebody else mean another thing by the name.
    """
    if name in store.WHOLE:
        whole = isinstance(value, int | str) and str(value).isascii() and str(value).isdecimal()
        return int(value) if whole and len(str(value)) <= DIGITS else None
    return one_line(value) if isinstance(value, str) else None


def _times(stats: dict[str, Any]) -> dict[str, list[list[float]]]:
    """Every round. A file without rounds (no --benchmark-save-data) has the smallest, median and largest."""
    if stats.get("data"):
        return {"seconds": [seconds(stats["data"])]}
    return {f"seconds_{name}": [seconds([stats[name]])] for name in ("min", "median", "max")}
