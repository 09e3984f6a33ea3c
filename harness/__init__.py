"""Benchmarks and diagnostics for recurrent cells; `harness.load(path)` reads results.

The command `cellbench` measures, see `cellbench --help`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import pandas

__all__ = ["load"]


def load(path: str | Path | Iterable[str | Path]) -> pandas.DataFrame:
    """One tidy frame over any number of runs, one observation a row; see `harness.store.load`."""
    from .store import load

    return load(path)
