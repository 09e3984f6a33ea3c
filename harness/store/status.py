"""How a case ends: docs/results.md has a line for each."""

from __future__ import annotations

ENDED = ("ok", "pruned")  # of which nothing is left to measure
FINE = (*ENDED, "unsupported", "unavailable", "skipped", "diverged")
# `cellbench run` exits with 1
ERRORS = ("wrong", "failed", "crashed", "timed_out", "out_of_memory", "mismatch")
STATUSES = (*FINE, *ERRORS)
