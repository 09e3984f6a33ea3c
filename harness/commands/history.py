"""`cellbench history [RUN ...]`: appends the points of runs, then prints and draws every trend."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

from .. import store
from ..regress.history import file, page
from ..regress.history.points import points_of
from ..regress.history.trend import table, trends
from ..report.terminal import plain


def history(runs: Sequence[Path], path: Path, output: Path) -> int:
    """Exit code 0: a change in history is information; `regress` is what turns red. Raises ResultsError."""
    taken = [
        points_of(run) for parent in runs for run in store.runs(parent)
    ]  # all are read before anything is written
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if runs:
            points = [p for found, _ in taken for p in found]
            new = file.append(path, points)
            print(f"{path}: {new} new points, {len(points) - new} were there already")
        found = trends(file.read(path))
    for one in dict.fromkeys(str(w.message) for w in caught):
        print(f"warning: {one}")
    for name in dict.fromkeys(name for _, alone in taken for name in alone):
        print(f"no anchor: {name}; add native to backends, so that it is timed in the same processes")
    if not found:
        raise store.ResultsError(
            f"history {str(path)!r} has no point; `cellbench history RUN` adds those of a run with native"
        )
    print(plain(table(found)))
    print(f"page: {page.write(found, output)}")
    return 0
