"""Benchmarks and diagnostics for recurrent cells: `harness.run(...)` measures, `harness.load(path)` reads.

The command `cellbench` does the same on a command line, see `cellbench --help`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import pandas

    from .runs.in_python import Run

__all__ = ["load", "run"]


def load(path: str | Path | Iterable[str | Path]) -> pandas.DataFrame:
    """One tidy frame over any number of runs, one observation a row; see `harness.store.load`."""
    from .store import load

    return load(path)


def run(**settings: Any) -> Run:
    """Measures, and returns the run; see `harness.runs.in_python.run`."""
    from .runs.in_python import run

    return run(**settings)
