"""Takes over pytest-benchmark's JSON as a run.

`pytest --benchmark-json=FILE` writes it. `report`, `history` and `compare` (with another imported run) take
the run. A benchmark's group is its task, so that equal names of two groups stay apart.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import shlex
from collections import Counter
from pathlib import Path
from typing import Any

from .. import store
from ..screen import last, one_line
from ..store import files, imported
from ._arguments import RUNS, epilog, path

MOST = 1 << 28  # bytes of a file
DIGITS = 15  # of a whole number: no size, seed or number of threads has more
NO_FILE = "not JSON of pytest-benchmark (--benchmark-json=FILE writes it)"
EXAMPLES = """\
  cellbench import benchmarks.json
  cellbench import benchmarks.json --results results/imported"""


def add(parser: argparse.ArgumentParser) -> None:
    """Names the arguments."""
    parser.usage = "cellbench import FILE [--results DIR]"
    parser.add_argument("file", type=path, metavar="FILE", help="the JSON of pytest-benchmark")
    parser.add_argument(
        "--results",
        type=path,
        default=RUNS,
        metavar="DIR",
        help="the folder that the run's folder is made in (default: %(default)s)",
    )
    parser.epilog = epilog(EXAMPLES)


def do(arguments: argparse.Namespace) -> int:
    """Runs `cellbench import`; returns the exit code."""
    last(f"run: {import_benchmarks(arguments.file, arguments.results)}")
    return 0


def import_benchmarks(file: Path, results: Path) -> Path:
    """Writes a run with one case a benchmark; returns its folder. Raises ResultsError for any other file."""
    try:
        content = files.parse(files.read(file, MOST))
    except OSError as error:
        raise store.ResultsError(f"{file} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise store.ResultsError(f"{file} is {NO_FILE}: {error!s:.100}") from None
    try:
        names = [_name(b) for b in content["benchmarks"]]
        blocks = [(_definition(b), _series(b), _implementation(b)) for b in content["benchmarks"]]
        manifest = _manifest(content, file)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise store.ResultsError(f"{file} is {NO_FILE}") from None
    if not blocks:
        raise store.ResultsError(f"{file} holds no benchmark; nothing was imported")
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise store.ResultsError(
            f"{file} has {twice[0]!r} more than once, so that one would be taken for the other"
        )
    with store.whole(results, manifest) as writer:
        for definition, series, implementation in blocks:
            case = hashlib.sha256(json.dumps(definition, sort_keys=True).encode()).hexdigest()[:12]
            writer.append(case, definition, "ok", series=series, implementation=implementation, done=True)
    return writer.folder


def _manifest(content: dict[str, Any], file: Path) -> dict[str, Any]:
    info = content.get("machine_info") or {}
    described = {
        "created": content.get("datetime"),
        "command": f"cellbench import {shlex.quote(file.name)}",
        "config": {},
        "git": content.get("commit_info") or {},
        "versions": {"pytest-benchmark": content.get("version")},
        "machine": {"cpu": info.get("cpu", {}).get("brand_raw"), "python": info.get("python_version")},
        "machine_key": _machine_key(info),
    }
    return {name: _cleaned(value) for name, value in described.items()}


def _cleaned(value: Any) -> Any:
    """The same without control characters, which would go on to terminals and figures."""
    if isinstance(value, dict):
        return {one_line(k): _cleaned(v) for k, v in value.items()}
    return one_line(value) if isinstance(value, str) else value


def _machine_key(info: dict[str, Any]) -> dict[str, Any] | None:
    """What two files must have in common for their times to be compared; None where a file says nothing."""
    cpu = info.get("cpu") or {}
    known = {key: info[key] for key in ("node", "machine", "system", "python_version") if info.get(key)}
    known |= {f"cpu {key}": cpu[key] for key in ("brand_raw", "count") if cpu.get(key)}
    return known or None


def _definition(benchmark: dict[str, Any]) -> dict[str, Any]:
    """The columns that our own benchmarks write to extra_info; another's is known by its name alone."""
    columns = {k: _column(k, value) for k, value in benchmark["extra_info"].items() if k in store.DEFINITION}
    group = benchmark.get("group")
    return (
        {"probe": imported.PROBE, "variant": _name(benchmark)}
        | ({"task": one_line(group)} if isinstance(group, str) and group else {})
        | {k: v for k, v in columns.items() if v is not None}
    )


def _name(benchmark: dict[str, Any]) -> str:
    name = benchmark["fullname"]
    if not isinstance(name, str) or not name:
        raise ValueError
    return one_line(name)


def _implementation(benchmark: dict[str, Any]) -> str | None:
    name = benchmark["extra_info"].get("implementation")
    return one_line(name) if isinstance(name, str) else None


def _column(name: str, value: Any) -> int | str | None:
    """A value of extra_info as the column of that name holds it.

    None where the benchmarks of somebody else mean another thing by the name.
    """
    if name in store.WHOLE:
        whole = isinstance(value, int | str) and str(value).isascii() and str(value).isdecimal()
        return int(value) if whole and len(str(value)) <= DIGITS else None
    return one_line(value) if isinstance(value, str) else None


def _series(benchmark: dict[str, Any]) -> list[dict[str, Any]]:
    """Every round. A file without rounds (no --benchmark-save-data) has the smallest, median and largest."""
    stats = benchmark["stats"]
    times = (
        {"seconds": stats["data"]}
        if stats.get("data")
        else {f"seconds_{k}": [stats[k]] for k in ("min", "median", "max")}
    )
    return [
        {"metric": k, "unit": "s", "values": [_seconds(v) for v in values], "process": 0}
        for k, values in times.items()
    ]


def _seconds(value: Any) -> float:
    if not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ValueError
    return float(value)
