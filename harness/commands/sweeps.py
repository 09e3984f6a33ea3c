"""Lists sweeps, which `run -m` makes, or shows one with a line for each of its jobs.

It reads what the jobs have written, so it may be used beside them, and on any machine that has the folder.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ._arguments import RUNS, epilog, path, word
from ._table import print_table

EXAMPLES = """\
  cellbench sweeps
  cellbench sweeps 20260102-030405-abcd
  cellbench sweeps 20260102-030405-abcd --watch
  cellbench sweeps --results elsewhere/runs"""


def add(parser: argparse.ArgumentParser) -> None:
    """Names the arguments."""
    parser.usage = "cellbench sweeps [ID] [--watch] [--results DIR]"
    parser.add_argument("sweep", nargs="?", type=word, metavar="ID", help="a sweep's name, or its folder")
    parser.add_argument(
        "--results", type=path, default=RUNS, metavar="DIR", help="the folder of runs (default: %(default)s)"
    )
    parser.add_argument(
        "--watch", action="store_true", help="keep a line up to date while jobs of ID are queued or running"
    )
    parser.epilog = epilog(EXAMPLES)


def do(arguments: argparse.Namespace) -> int:
    """Runs `cellbench sweeps`; returns the exit code."""
    from ..runs import live
    from ..store import sweeps
    from ._sweeps import print_sweep

    if arguments.sweep is not None:
        sweep = sweeps.read(sweeps.named(arguments.sweep, arguments.results))
        if arguments.watch:
            live.follow(sweep)
        print_sweep(sweep)
        return 0
    if arguments.watch:
        raise ValueError("--watch needs the sweep to watch; write cellbench sweeps ID --watch")
    if arguments.results != RUNS and not arguments.results.is_dir():
        raise ValueError(f"--results: {str(arguments.results)!r} is no folder; give the folder of runs")
    folders = sweeps.sweeps(arguments.results)
    rows = [
        (sweep.folder.name, str(len(sweep.jobs)), live.state_of(sweep), sweep.manifest["command"])
        for sweep in map(sweeps.read, folders)
    ]
    if rows:
        print_table(("sweep", "jobs", "state", "command"), rows, numbers=["jobs"])
    else:
        print(f"no sweep in {str(Path(arguments.results))!r}; `cellbench run -m KEY=A,B` makes one")
    return 0
