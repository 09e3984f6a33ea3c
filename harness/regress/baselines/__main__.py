"""Records the exact numbers of every cell; --check compares with the recorded ones instead.

As a command: `nox -s baselines [-- --check]`.
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

from ...measure.worker import limits
from ...screen import shortened, shown
from .differences import Compared, Difference, compare, renewed, table
from .files import FOLDER, Baseline, BaselineError, read, remove, versions, write
from .gather import ZooFacts, gather, zoo

RENEW = "nox -s baselines"


def main(argv: Sequence[str] | None = None, facts: ZooFacts | None = None) -> int:
    """Exit code: 0; 1 for a difference; 2 for bad input or a damaged file; 3 where nothing was compared.

    facts are those of every cell, measured here unless given.
    """
    with shown():  # a name in a file may hold what a terminal obeys
        return _outcome(argv, facts)


def _outcome(argv: Sequence[str] | None, facts: ZooFacts | None) -> int:
    try:
        arguments = _parser().parse_args(argv)
        chosen = _chosen(arguments.cells, arguments.folder)
        baselines = read(arguments.folder, chosen)
        if arguments.check and not baselines:
            print(f"no baseline in {arguments.folder}, so nothing was compared; {RENEW} records them")
            return 3
        names = [name for name in zoo() if not chosen or name in chosen]
        chosen_facts = gather(names) if facts is None else {name: facts[name] for name in names}
        return (check if arguments.check else renew)(baselines, chosen_facts, arguments.folder)
    except BaselineError as error:
        print(f"baselines: {shortened(error)}", file=sys.stderr)
        return 2


def check(baselines: dict[str, Baseline], facts: ZooFacts, folder: Path) -> int:
    """Holds facts against the baselines; prints what differs."""
    compared = {
        name: compare(baselines[name], facts[name], versions())
        for name in sorted(baselines.keys() & facts.keys())
        if isinstance(facts[name], dict)
    }
    differences = [d for c in compared.values() for d in c.differences] + _unpaired(baselines, facts)
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


def renew(baselines: dict[str, Baseline], facts: ZooFacts, folder: Path) -> int:
    """Records the facts and prints what that changes; a cell that was not measured keeps its file."""
    here = versions()
    good = {name: one for name, one in facts.items() if isinstance(one, dict)}
    compared = {
        name: compare(baselines[name], good[name], here) for name in sorted(baselines.keys() & good.keys())
    }
    for name, measured in good.items():
        write(folder, Baseline(name, here, renewed(baselines.get(name), measured, here)))
    gone = baselines.keys() - facts.keys()
    for name in gone:
        remove(folder, name)
    _print([d for c in compared.values() for d in c.differences] + _unpaired(baselines, facts), compared)
    bad = len(facts) - len(good)
    print(
        f"{len(good)} cells recorded in {folder}, {len(gone)} removed"
        + (f"; {bad} could not be measured" if bad else "")
    )
    return 1 if bad else 0


def _unpaired(baselines: dict[str, Baseline], facts: ZooFacts) -> list[Difference]:
    """Differences that are red for want of a pair: a cell gone, new, or not measured."""
    gone = [
        Difference(n, "the cell", "recorded", "not in the zoo: removed or renamed")
        for n in baselines.keys() - facts.keys()
    ]
    new = [Difference(n, "the cell", "no baseline", "in the zoo") for n in facts.keys() - baselines.keys()]
    bad: list[tuple[str, Any]] = [
        (name, reason) for name, reason in facts.items() if not isinstance(reason, dict)
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
    """The cells asked for. Raises BaselineError for a name in neither the zoo nor the folder."""
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
    os.environ.update(limits(1))
    sys.exit(main())
