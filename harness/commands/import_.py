"""Takes over pytest-benchmark's JSON as a run.

`pytest --benchmark-json=FILE` writes it. `report`, `history` and `compare` (with another imported run) take
the run. A benchmark's group is its task, so that equal names of two groups stay apart.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
from pathlib import Path
from typing import Any

from .. import store
from ..screen import last
from ..store import imported
from ._arguments import RUNS, epilog, path

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
        content = json.loads(file.read_text(encoding="utf8"))
        names = [_name(b) for b in content["benchmarks"]]
        blocks = [(_definition(b), _series(b), _implementation(b)) for b in content["benchmarks"]]
        manifest = _manifest(content, file)
    except OSError as error:
        raise store.ResultsError(f"{file} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise store.ResultsError(
            f"{file} is not JSON of pytest-benchmark (--benchmark-json=FILE writes it)"
        ) from None
    if not blocks:
        raise store.ResultsError(f"{file} holds no benchmark; nothing was imported")
    if twice := [name for name in names if names.count(name) > 1]:
        raise store.ResultsError(
            f"{file} has {twice[0]!r} more than once, so that one would be taken for the other"
        )
    writer = store.create(results, manifest)
    for definition, series, implementation in blocks:
        case = hashlib.sha256(json.dumps(definition, sort_keys=True).encode()).hexdigest()[:12]
        writer.append(case, definition, "ok", series=series, implementation=implementation, done=True)
    writer.close()
    return writer.folder


def _manifest(content: dict[str, Any], file: Path) -> dict[str, Any]:
    info = content.get("machine_info") or {}
    return {
        "created": content.get("datetime"),
        "command": f"cellbench import {file.name}",
        "config": {},
        "git": content.get("commit_info") or {},
        "versions": {"pytest-benchmark": content.get("version")},
        "machine": {"cpu": info.get("cpu", {}).get("brand_raw"), "python": info.get("python_version")},
        "machine_key": _machine_key(info),
    }


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
        | ({"task": group} if isinstance(group, str) and group else {})
        | {k: v for k, v in columns.items() if v is not None}
    )


def _name(benchmark: dict[str, Any]) -> str:
    name = benchmark["fullname"]
    if not isinstance(name, str) or not name:
        raise ValueError
    return name


def _implementation(benchmark: dict[str, Any]) -> str | None:
    name = benchmark["extra_info"].get("implementation")
    return name if isinstance(name, str) else None


def _column(name: str, value: Any) -> int | str | None:
    """A value of extra_info as the column of that name holds it.

    None where the benchmarks of somebody else mean another thing by the name.
    """
    if name in store.WHOLE:
        return int(value) if isinstance(value, int | str) and str(value).isdecimal() else None
    return value if isinstance(value, str) else None


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
