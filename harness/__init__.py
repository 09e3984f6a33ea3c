"""Benchmarks and diagnostics for recurrent cells: `harness.run(...)` measures, `harness.load(path)` reads.

The command `cellbench` does the same on a command line, see `cellbench --help`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import pandas
    import polars

    from .runs.in_python import Run

__all__ = ["load", "run", "scan"]


def load(path: str | Path | Iterable[str | Path]) -> pandas.DataFrame:
    """One tidy frame over any number of runs, one observation a row; see `harness.store.load`."""
    from .store import load

    return load(path)


def scan(path: str | Path | Iterable[str | Path]) -> polars.LazyFrame:
    """The same rows as a lazy frame of Polars, for more than fit the memory; see `harness.store.scan`."""
    from .store.scan import scan

    return scan(path)


def run(**settings: Any) -> Run:
    """Measures, and returns the run; see `harness.runs.in_python.run`."""
    from .runs.in_python import run

    return run(**settings)
