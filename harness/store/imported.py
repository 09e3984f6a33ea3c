"""A run that `cellbench import` made: what marks it, and the times of its benchmarks."""

from __future__ import annotations

from typing import Any

PROBE = "benchmark"
COMMAND = "cellbench import "
SILENT = "hyperfine"  # its files name no machine
SECONDS = ("seconds", "seconds_median")  # every round, or the median alone where the file has no rounds


def is_imported(manifest: dict[str, Any]) -> bool:
    """Whether the times of a run come from another tool."""
    return not manifest.get("config") and str(manifest.get("command", "")).startswith(COMMAND)
