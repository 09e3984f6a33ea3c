"""Benchmarks and diagnostics for recurrent cells: `harness.run(...)` measures, `harness.load(path)` reads.

`harness.compare(f, g)` and `harness.time(f)` are for functions of your own. The command `cellbench` does the
same on a command line, see `cellbench --help`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    import pandas
    import polars

    from .functions.compare import FunctionComparison
    from .functions.time import FunctionTime
    from .runs.in_python import Run

__all__ = ["compare", "load", "run", "scan", "time"]


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


def compare(f: Callable[..., Any] | str, g: Callable[..., Any] | str, **call: Any) -> FunctionComparison:
    """How much slower or faster function g is than f; see `harness.functions.compare.compare`.

    call: args, kwargs, setup, equal, seed.
    """
    from .functions.compare import compare

    return compare(f, g, **call)


def time(f: Callable[..., Any] | str, **call: Any) -> FunctionTime:
    """How long one call of a function takes; see `harness.functions.time.time`.

    call: args, kwargs, setup, processes.
    """
    from .functions.time import time

    return time(f, **call)
