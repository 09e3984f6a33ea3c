"""pyperf's JSON (version 1.0): a benchmark has runs, each of a process of its own, with a value a sample.

Values are seconds of one loop. Metadata that all benchmarks share stands beside them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ._brought import Benchmark, Brought, known, name_of, seconds

KEY = ("hostname", "cpu_model_name", "cpu_count", "platform", "python_version", "python_implementation")
SECOND = "second"  # the unit of times; there are bytes and whole numbers too


def is_one(content: dict[str, Any]) -> bool:
    """Whether this is its JSON."""
    listed = content.get("benchmarks")
    return isinstance(listed, list) and any(isinstance(one, dict) and "runs" in one for one in listed)


def brought(content: dict[str, Any], file: Path) -> Brought:
    """Its benchmarks of times; runs that only calibrate or warm up have no value, and are left out."""
    shared, benchmarks, left_out, dates = content.get("metadata") or {}, [], [], []
    for number, one in enumerate(content["benchmarks"]):
        described = shared | (one.get("metadata") or {})
        name = name_of(described.get("name") or f"{file.stem} {number}")
        runs = [run for run in one["runs"] if run.get("values")]
        dates += [run["metadata"]["date"] for run in runs if (run.get("metadata") or {}).get("date")]
        if described.get("unit", SECOND) == SECOND and runs:
            benchmarks.append(Benchmark(name, {"seconds": [seconds(run["values"]) for run in runs]}))
        else:
            left_out.append(f"{name}: no times")
    common = shared | (content["benchmarks"][0].get("metadata") or {})
    return Brought(
        "pyperf",
        benchmarks,
        common.get("perf_version"),
        min(map(str, dates), default=None),
        {"id": common["commit_id"]} if isinstance(common.get("commit_id"), str) else {},
        {"cpu": common.get("cpu_model_name"), "python": common.get("python_version")},
        known(common, KEY),
        left_out,
    )
