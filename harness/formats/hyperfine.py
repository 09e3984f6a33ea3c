"""hyperfine's JSON: `hyperfine --export-json FILE`. A run of a command is a process; no machine is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ._brought import Benchmark, Brought, name_of, seconds


def is_one(content: dict[str, Any]) -> bool:
    """Whether this is its JSON."""
    listed = content.get("results")
    if not isinstance(listed, list):
        return False
    return not listed or any(isinstance(one, dict) and "command" in one for one in listed)


def brought(content: dict[str, Any], file: Path) -> Brought:
    """Its commands, with their parameters; without `times` it has the smallest, median and largest."""
    return Brought("hyperfine", [_benchmark(one) for one in content["results"]])


def _benchmark(result: dict[str, Any]) -> Benchmark:
    given = result.get("parameters") or {}
    values = ", ".join(f"{name}={value}" for name, value in given.items())
    name = name_of(f"{name_of(result['command'])} ({values})" if values else result["command"])
    if result.get("times"):
        return Benchmark(name, {"seconds": [seconds([value]) for value in result["times"]]})
    return Benchmark(name, {f"seconds_{k}": [seconds([result[k]])] for k in ("min", "median", "max")})
