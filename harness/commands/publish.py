"""Writes a static site of runs over time: trends, the newest reports, machines, a page for each cell.

It is made from the runs and the history alone, as `cellbench report` and `cellbench history` are. Any web
server shows the folder, such as GitHub Pages.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

from ._arguments import RUNS, RUNS_HELP, epilog, path, with_sweeps

EXAMPLES = """\
  cellbench publish site
  cellbench publish site results/nightly --file results/history/history.jsonl"""
HISTORY = Path("results/history/history.jsonl")


def add(parser: argparse.ArgumentParser) -> None:
    """Names the arguments."""
    parser.usage = "cellbench publish DIR [RUN ...] [--results DIR] [--file FILE]"
    parser.add_argument("folder", type=path, metavar="DIR", help="folder of the site")
    parser.add_argument("runs", nargs="*", default=[], type=path, metavar="RUN", help=RUNS_HELP)
    parser.add_argument(
        "--results",
        type=path,
        default=RUNS,
        metavar="DIR",
        help="where runs are looked for when none is named, and sweeps by name (default: %(default)s)",
    )
    parser.add_argument(
        "--file", type=path, metavar="FILE", help=f"the history (default: {HISTORY}, where it is there)"
    )
    parser.epilog = epilog(EXAMPLES)


def do(arguments: argparse.Namespace) -> int:
    """Runs `cellbench publish`; returns the exit code."""
    from .. import store
    from ..regress.history import file
    from ..regress.history.trend import trends
    from ..screen import counted, last
    from . import _site

    given = with_sweeps(arguments.runs, arguments.results) or [arguments.results]
    folders = [run for path in given for run in store.runs(path)]
    history = arguments.file or HISTORY
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        lines = trends(file.read(history)) if arguments.file or history.exists() else []
        store.pages.check(arguments.folder, ())  # before minutes of drawing
        files = _site.files(folders, lines)
    for text in dict.fromkeys(str(one.message) for one in caught):
        print(f"warning: {text}")
    store.pages.replace(arguments.folder, "site", files)
    of = f"{counted(len(folders), 'run')} and {counted(len(lines), 'trend')}"
    print(f"{counted(len(files), 'page')} of {of}")
    last(f"site: {arguments.folder / 'index.html'}")
    return 0
