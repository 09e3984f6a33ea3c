"""Measures the grid, prints its page, and writes page, table and figure.

    python -m cellbench.harness.studies.cpu_kernels [--all] [--cells NAME ...] [--output FOLDER]

An interrupted study goes on where it stopped, when it is started again with the same code and packages.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from cellbench import cells

from ... import store
from ...store import atomic
from . import figure, page
from .points import BATCHES, CELLS, LOOP, OWN, SIZES, STEPS, Grid
from .records import Records
from .study import Study

FOLDER = Path("results/reference/cpu-kernels")


def main(arguments: list[str] | None = None) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m cellbench.harness.studies.cpu_kernels",
        description=(__doc__ or "").partition("\n")[0],
    )
    parser.add_argument(
        "--all", action="store_true", help="every cell with a fused kernel, against torch's loop"
    )
    parser.add_argument("--cells", nargs="+", metavar="NAME", help=f"(default: {' '.join(CELLS)})")
    parser.add_argument("--batches", nargs="+", type=int, default=BATCHES, metavar="B")
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES, metavar="H")
    parser.add_argument("--steps", type=int, default=STEPS, metavar="T")
    parser.add_argument("--processes", type=int, help="of each point (default: 3, and 1 with --all)")
    parser.add_argument("--output", type=Path, help=f"folder to write to (default: {FOLDER}, or ...-all)")
    given = parser.parse_args(arguments)
    try:
        return _study(given)
    except ValueError as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130


def _study(given: argparse.Namespace) -> int:
    processes = (1 if given.all else 3) if given.processes is None else given.processes
    numbers = [given.steps, processes, *given.batches, *given.sizes]
    if any(number < 1 for number in numbers):
        raise ValueError(f"{min(numbers)} is no size; sizes and processes are whole numbers from 1 on")
    names = given.cells or (_with_kernels() if given.all else CELLS)
    for name in names:
        cells.get(name)
    sizes = {"batches": given.batches, "sizes": given.sizes, "steps": given.steps}
    grid = Grid(names, peers=LOOP if given.all else None, **sizes)
    folder = given.output or (FOLDER.with_name(f"{FOLDER.name}-all") if given.all else FOLDER)
    store.make(folder)
    records = Records(folder)
    if records.anew:
        print(records.anew, file=sys.stderr)
    judged = Study(grid, records, np.random.default_rng(), processes, say=_say).run()
    text = page.markdown(grid, judged)
    atomic.write_text(folder / f"{figure.NAME}.md", text)
    atomic.write_text(folder / f"{figure.NAME}.csv", page.table(judged))
    atomic.write_text(folder / f"{figure.NAME}.svg", figure.draw(grid, judged))
    print(text)
    print(f"written: {folder}")
    return 0


def _with_kernels() -> list[str]:
    """The cells of which a fused kernel can be printed."""
    backend = cells.backend(OWN)
    return [name for name in cells.names() if backend.unsupported(cells.get(name)) is None]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
