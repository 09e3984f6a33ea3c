"""Records what is exact of every cell, or with --check compares it with what was: `nox -s baselines [--
--check]`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cellbench.cells.find import nearest

from ...measure.worker import THREAD_VARIABLES
from .differences import Compared, Difference, compare, renewed, table
from .files import FOLDER, Baseline, BaselineError, read, remove, versions, write
from .gather import Found, gather, zoo

RENEW = "nox -s baselines"


def main(argv: Sequence[str] | None = None, facts: Found | None = None) -> int:
    """Exit code: 0; 1 for a difference; 2 for bad input or a damaged file; 3 where nothing was compared.

    facts is what was found of every cell, measured here unless given.
    """
    try:
        arguments = _parser().parse_args(argv)
        chosen = _chosen(arguments.cells, arguments.folder)
        baselines = read(arguments.folder, chosen)
        if arguments.check and not baselines:
            print(f"no baseline in {arguments.folder}, so nothing was compared; {RENEW} records them")
            return 3
        names = [name for name in zoo() if not chosen or name in chosen]
        found = gather(names) if facts is None else {name: facts[name] for name in names}
        return (check if arguments.check else renew)(baselines, found, arguments.folder)
    except BaselineError as error:
        print(f"baselines: {error}", file=sys.stderr)
        return 2


def check(baselines: dict[str, Baseline], found: Found, folder: Path) -> int:
    """Holds what was found against the baselines; prints what differs."""
    compared = {
        name: compare(baselines[name], found[name], versions())
        for name in sorted(baselines.keys() & found.keys())
        if isinstance(found[name], dict)
    }
    differences = [d for c in compared.values() for d in c.differences] + _unpaired(baselines, found)
    _print(differences, compared)
    count = sum(c.count for c in compared.values())
    red = sum(d.red for d in differences)
    print(
        f"{count} numbers of {len(compared)} cells compared with {folder}: {red} differ"
        if count
        else "nothing was compared"
    )
    if red:
        print(f"a difference that is meant: {RENEW} records it")
    return 1 if red else 0 if count else 3


def renew(baselines: dict[str, Baseline], found: Found, folder: Path) -> int:
    """Records what was found; prints what that changes. A cell that could not be measured keeps what it has."""
    here = versions()
    good = {name: facts for name, facts in found.items() if isinstance(facts, dict)}
    compared = {
        name: compare(baselines[name], good[name], here) for name in sorted(baselines.keys() & good.keys())
    }
    for name, facts in good.items():
        write(folder, Baseline(name, here, renewed(baselines.get(name), facts, here)))
    gone = baselines.keys() - found.keys()
    for name in gone:
        remove(folder, name)
    _print([d for c in compared.values() for d in c.differences] + _unpaired(baselines, found), compared)
    bad = len(found) - len(good)
    print(
        f"{len(good)} cells recorded in {folder}, {len(gone)} removed"
        + (f"; {bad} could not be measured" if bad else "")
    )
    return 1 if bad else 0


def _unpaired(baselines: dict[str, Baseline], found: Found) -> list[Difference]:
    """What cannot be compared, and is red for it: a cell gone, a cell without a baseline, a cell that could
    not be measured.
    """
    gone = [
        Difference(n, "the cell", "recorded", "not in the zoo: removed or renamed")
        for n in baselines.keys() - found.keys()
    ]
    new = [Difference(n, "the cell", "no baseline", "in the zoo") for n in found.keys() - baselines.keys()]
    bad: list[tuple[str, Any]] = [
        (name, facts) for name, facts in found.items() if not isinstance(facts, dict)
    ]
    return sorted(gone + new, key=lambda d: d.cell) + [
        Difference(n, "measuring it", "recorded", reason) for n, reason in bad
    ]


def _print(differences: list[Difference], compared: dict[str, Compared]) -> None:
    red = [d for d in differences if d.red]
    if red:
        print("\n".join(table(red)), end="\n\n")
    if hashes := [d for d in differences if not d.red]:
        print("for information, the text of printed kernels changed:")
        print("\n".join(table(hashes)), end="\n\n")
    for reason, count in Counter(reason for c in compared.values() for reason in c.without).items():
        print(f"no baseline for {reason} ({count} cells)")


def _chosen(names: Sequence[str], folder: Path) -> set[str]:
    """The cells that were asked for. Raises BaselineError for a name that is in neither the zoo nor the
    folder.
    """
    known = {*zoo(), *(p.stem for p in folder.glob("*.json"))}
    for name in names:
        if name not in known:
            raise BaselineError(
                f"unknown cell {name!r}{nearest(name, known)} cells: {', '.join(sorted(known))}"
            )
    return set(names)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        raise BaselineError(
            f"{message}; `python -m cellbench.harness.regress.baselines --help` shows what there is"
        )


def _parser() -> argparse.ArgumentParser:
    parser = _Parser("cellbench.harness.regress.baselines", description=__doc__)
    parser.add_argument("cells", nargs="*", metavar="CELL", help="default: every cell of the zoo")
    parser.add_argument(
        "--check", action="store_true", help="compare and change nothing; exit code 1 where something differs"
    )
    parser.add_argument("--folder", type=Path, default=FOLDER, help=f"default: {FOLDER}")
    return parser


if __name__ == "__main__":
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    sys.exit(main())
