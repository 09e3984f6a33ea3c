"""Adds runs to the history of this project, and shows every trend and where it changed.

A point is a benchmark's time over that of torch's own module, which was timed in the same processes. A run
therefore needs the backend native. A change of the trend is information: the exit code stays 0.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Sequence
from pathlib import Path

from .. import store
from ..regress.history import file, page
from ..regress.history.points import points_of
from ..regress.history.trend import Trend, table, trends
from ..regress.usable import left_out
from ..report.terminal import plain
from ..screen import last
from ._arguments import RUNS_HELP, epilog, path, with_sweeps

PAGE = Path("results/reports/history")
EXAMPLES = """\
  cellbench history
  cellbench history results/runs/RUN
  cellbench history results/runs --file history.jsonl --output page"""


def add(parser: argparse.ArgumentParser) -> None:
    """Names the arguments."""
    parser.usage = "cellbench history [RUN ...] [--file FILE] [--output DIR]"
    parser.add_argument("runs", nargs="*", type=path, metavar="RUN", help=f"{RUNS_HELP}, to add")
    parser.add_argument(
        "--file", type=path, default=file.FILE, metavar="FILE", help="the history (default: %(default)s)"
    )
    parser.add_argument(
        "--output", type=path, default=PAGE, metavar="DIR", help="folder of the page (default: %(default)s)"
    )
    parser.epilog = epilog(EXAMPLES)


def do(arguments: argparse.Namespace) -> int:
    """Runs `cellbench history`; returns the exit code."""
    return history(with_sweeps(arguments.runs), arguments.file, arguments.output)


def history(runs: Sequence[Path], path: Path, output: Path) -> int:
    """Adds the points of the runs, prints and draws the trends; returns 0. Raises ResultsError."""
    # all runs are read before anything is written, so that a damaged one leaves the history as it was
    taken = [points_of(run) for parent in runs for run in store.runs(parent)]
    store.pages.check(output, (page.MARKDOWN, page.PAGE))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if runs:
            points = [point for one in taken for point in one.points]
            new = file.append(path, points)
            print(f"{path}: {new} new points, {len(points) - new} were there already")
        all_trends = trends(file.read(path))
    for message in dict.fromkeys(str(w.message) for w in caught):
        print(f"warning: {message}")
    for line in left_out([value for one in taken for value in one.strange]):
        print(line)
    for name in dict.fromkeys(name for one in taken for name in one.alone):
        print(f"no anchor: {name}; add native to backends, so that it is timed in the same processes")
    print(plain(table(some(all_trends, path))))
    last(f"page: {page.write(all_trends, output)}")
    return 0


def some(all_trends: list[Trend], path: Path) -> list[Trend]:
    """The trends of a history. Raises ResultsError where it has none."""
    if not all_trends:
        raise store.ResultsError(
            f"history {str(path)!r} has no point; `cellbench history RUN` adds those of a run with native"
        )
    return all_trends
