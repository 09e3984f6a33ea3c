"""Writes the page and the tables of runs, and prints the summary.

Without a RUN it takes the newest one below --results. The page is made from the runs alone: index.html with
its figures, and report.md for GitHub.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ._arguments import RUNS, RUNS_HELP, epilog, path, with_sweeps, word

PAGES = Path("results/reports")
MOST_ROWS = 1000  # of a summary that is printed alone: rich takes 2 ms for each
NAME_LENGTH = 120  # characters of a folder's name that several runs share, below what file systems allow
EXAMPLES = """\
  cellbench report
  cellbench report results/runs/RUN --output page
  cellbench report results/runs --claims results/claims
  cellbench report results/runs/RUN --probe my_probe.py:MyProbe"""


def add(parser: argparse.ArgumentParser) -> None:
    """Names the arguments."""
    parser.usage = (
        "cellbench report [RUN ...] [--results DIR] [--output DIR] [--claims DIR] [--probe PROBE]\n"
        "       cellbench report [RUN ...] --summary"
    )
    parser.add_argument("runs", nargs="*", type=path, metavar="RUN", help=RUNS_HELP)
    parser.add_argument(
        "--results",
        type=path,
        default=RUNS,
        metavar="DIR",
        help="where the newest run is looked for, and sweeps by name (default: %(default)s)",
    )
    parser.add_argument(
        "--output", type=path, metavar="DIR", help=f"folder of the page (default: {PAGES}/RUN)"
    )
    parser.add_argument(
        "--claims",
        type=path,
        metavar="DIR",
        help="folder of `cellbench claims`, for the last section (default: claims beside the runs' folder)",
    )
    parser.add_argument(
        "--summary",
        action="store_true",
        help="print the summary alone, of any number of rows; needs cellbench[scale]",
    )
    parser.add_argument(
        "--probe",
        action="append",
        type=word,
        default=[],
        metavar="FILE.py:NAME",
        help="show this probe's results by the section in its file; may be given several times",
    )
    parser.epilog = epilog(EXAMPLES)


def page_of(manifests: Sequence[dict[str, Any]]) -> Path:
    """The folder of the page where none is given: named after the runs, whose names hold no path.

    Raises ResultsError where it is a link, which may have come with a run from elsewhere.
    """
    from .. import store

    folder = PAGES / "+".join(m["run"] for m in manifests)[:NAME_LENGTH]
    if folder.is_symlink():
        raise store.ResultsError(f"{folder} is a link; nothing is written through it, give --output DIR")
    return folder


def chosen(arguments: argparse.Namespace) -> list[Path]:
    """The folders of the runs that are named, else of the newest one."""
    from .. import store

    given = with_sweeps(arguments.runs, arguments.results)
    return [run for path in given for run in store.runs(path)] or [store.runs(arguments.results)[-1]]


def _print_summary(arguments: argparse.Namespace) -> int:
    from ..report import summary, terminal
    from ..store.brief import brief

    if arguments.output or arguments.claims or arguments.probe:
        raise ValueError("--summary writes no page; leave out --output, --claims and --probe")
    runs = with_sweeps(arguments.runs, arguments.results) or [arguments.results]
    print(terminal.summary_text(brief(runs, summary.METRICS), most=MOST_ROWS))
    return 0


def do(arguments: argparse.Namespace) -> int:
    """Runs `cellbench report`; returns the exit code."""
    from .. import probe as probing
    from .. import report, store
    from ..claims._page import last_section
    from ..measure.verdict import reliability
    from ..screen import last

    if arguments.summary:
        return _print_summary(arguments)
    runs = chosen(arguments)
    frame, manifests = store.load(runs), [store.read_manifest(run) for run in runs]
    folder = arguments.output or page_of(manifests)
    store.pages.check(folder, ())  # before the work of drawing
    sections, warnings = last_section(runs[0], manifests, arguments.claims)
    probes = probing.from_elsewhere(arguments.probe, frame["probe"].dropna().unique())
    tables = [run / store.TABLE for run in runs]
    page = report.write(frame, manifests, folder, reliability(), sections, probes, tables)
    print(report.terminal.text(frame, probes=probes))
    for line in warnings:
        print(f"claims: {line}")
    last(f"page: {page}")
    return 0
