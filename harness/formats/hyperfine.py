"""hyperfine's JSON: `hyperfine --export-json FILE`. A run of a command is a process; no machine is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..screen import counted
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
        times = {"seconds": [seconds([value]) for value in result["times"]]}
    else:
        times = {f"seconds_{k}": [seconds([result[k]])] for k in ("min", "median", "max")}
    return Benchmark(name, times, reason=_failures(result.get("exit_codes") or []))


def _failures(codes: list[Any]) -> str | None:
    """How many runs failed, which `--ignore-failure` times all the same; a code of null is a signal's."""
    if any(isinstance(code, bool) or not isinstance(code, int | None) for code in codes):
        raise ValueError
    failed = [code for code in codes if code != 0]
    if not failed:
        return None
    numbers = ", ".join(str(code) for code in sorted({code for code in failed if code is not None}))
    ends = [f"with exit code {numbers}"] * bool(numbers) + ["by a signal"] * (None in failed)
    return f"{len(failed)} of {counted(len(codes), 'run')} failed, {' or '.join(ends)}"
