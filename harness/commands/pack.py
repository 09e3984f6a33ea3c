"""Packs finished runs into one dataset, which is read like the runs, and makes folders of them again.

A pack stands beside the runs and takes their place: they keep their paths, and `load`, `report`, `compare`
and `history` read them as before. Every file of a run is kept as it was. A run that has not ended stays.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ._arguments import RUNS, RUNS_HELP, epilog, path, with_sweeps

EXAMPLES = """\
  cellbench pack
  cellbench pack results/runs/RUN results/runs/RUN
  cellbench pack --undo results/runs/packed-20260102-030405-abcd"""


def add(parser: argparse.ArgumentParser) -> None:
    """Names the arguments."""
    parser.usage = "cellbench pack [RUN ...]\n       cellbench pack --undo PACK"
    parser.add_argument(
        "runs",
        nargs="*",
        type=path,
        metavar="RUN",
        help=f"{RUNS_HELP} (default: {RUNS})",
    )
    parser.add_argument("--undo", type=path, metavar="PACK", help="make folders of the runs of a pack again")
    parser.epilog = epilog(EXAMPLES)


def do(arguments: argparse.Namespace) -> int:
    """Runs `cellbench pack`; returns the exit code."""
    from ..screen import counted, last

    if arguments.undo is not None:
        return _undo(arguments.undo, arguments.runs)
    from ..store.pack import pack

    outcome = pack(with_sweeps(arguments.runs) or [RUNS])
    for name, reason in outcome.stay.items():
        print(f"{name} stays: {reason}")
    if outcome.folder is None:
        last("nothing to pack")
        return 0
    last(f"pack: {outcome.folder}, of {counted(len(outcome.names), 'run')}")
    return 0


def _undo(folder: Path, runs: list[Path]) -> int:
    from .. import store
    from ..screen import last
    from ..store.pack import undo
    from ..store.packed import is_pack

    if runs:
        raise ValueError("--undo PACK makes folders of all runs of a pack; leave out RUN")
    if not is_pack(folder):
        raise store.ResultsError(f"{folder} is no pack; `cellbench pack` makes one beside the runs")
    last(f"runs: {len(undo(folder))}, in {folder.parent}")
    return 0
