"""What the Triton kernels of cells take of a GPU, as the compiler says (`nox -s resources`).

No GPU is needed. Writes results/kernels/CELL.json, or with --check compares with it: a change that spills,
or that adds a barrier, is seen without a GPU. Exit code 1 where something differs.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cellbench import cells
from cellbench.cells.kernels.triton.resources import choose, missing, version
from cellbench.cells.kernels.unprintable import unprintable

from ..store import atomic

FOLDER = Path("results/kernels")
BATCH = 16
TARGETS = ("sm_80", "sm_90", "sm_100")
Sizes = tuple[tuple[str, int], ...]  # formats, with a hidden_size each
SIZES: Sizes = (("float32", 64), ("bfloat16", 128))
# a grid of programs, of the cells that cuDNN has
LARGE: Sizes = (("bfloat16", 256), ("float32", 128), ("float32", 256))
IN_A_GRID = ("gru", "lstm")
Table = dict[str, Any]


def printable() -> list[str]:
    """The cells that have kernels."""
    return [name for name in cells.names() if unprintable(cells.get(name), "triton") is None]


def sizes_of(name: str) -> Sizes:
    """The sizes that are recorded of a cell."""
    return SIZES + (LARGE if name in IN_A_GRID else ())


def table(name: str, sizes: Sizes, targets: tuple[str, ...] = TARGETS) -> Table:
    """By format, size and target the form that was chosen with what its kernels take, or why none was."""
    cell = cells.get(name)
    rows: Table = {}
    for dtype, hidden in sizes:
        for target in targets:
            chosen = choose(cell, cell.units(hidden), BATCH, dtype, target)
            taken = {kernel: asdict(r) for kernel, r in chosen.kernels.items()}
            for each in taken.values():
                del each["failed"], each["died"]  # of a form that was chosen, nothing did
            form = str(chosen.form) if chosen.form else None
            rows[f"{dtype} H={hidden} {target}"] = {"form": form, "refused": chosen.refused, **taken}
    return rows


def recorded(name: str) -> Table:
    """The rows of the file. Raises FileNotFoundError where there is none."""
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf8"))["rows"]


def record(name: str) -> None:
    """Writes the cell's file."""
    content = {"triton": version(), "rows": table(name, sizes_of(name))}
    FOLDER.mkdir(parents=True, exist_ok=True)
    atomic.write_json(FOLDER / f"{name}.json", content, indent=1)


def differences(name: str, rows: Table, was: Table) -> list[str]:
    """A line for each row that is not what was recorded."""
    return [
        f"{name} {key}: {was.get(key, 'not recorded')}, now {rows.get(key, 'not measured')}"
        for key in {**was, **rows}
        if was.get(key) != rows.get(key)
    ]


def main(words: list[str] | None = None) -> int:
    """Runs the study; returns the exit code."""
    parser = argparse.ArgumentParser(prog="resources", description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("cells", nargs="*", metavar="CELL", help="(default: all that have kernels)")
    parser.add_argument("--check", action="store_true", help="compare, and change nothing")
    given = parser.parse_args(words)
    if reason := missing():
        parser.error(reason)
    if unknown := set(given.cells) - set(printable()):
        parser.error(f"{min(unknown)!r} has no kernel; these have: {', '.join(printable())}")
    wrong: list[str] = []
    for name in given.cells or printable():
        print(name, file=sys.stderr, flush=True)
        if given.check:
            wrong += differences(name, table(name, sizes_of(name)), recorded(name))
        else:
            record(name)
    print("\n".join(wrong), end="\n" if wrong else "")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
