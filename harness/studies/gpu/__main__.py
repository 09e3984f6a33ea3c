"""All cases on a CUDA device: checked, timed, profiled; or with --dry walked through on the CPU.

    python -m cellbench.harness.studies.gpu [--dry] [--cells CELL ...] [--output FOLDER]

A study that was interrupted goes on where it stopped, when it is started again with the same code.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ... import load, store
from ...store import atomic, provenance
from . import figure, page
from .grid import BATCHES, CELLS, DRY_STEPS, DTYPE, SIZES, STEPS, Grid
from .study import COMMAND, Study, code_of, writer

FOLDER, DRY_FOLDER = Path("results/gpu"), Path("results/gpu-dry")


def main(words: list[str] | None = None) -> int:
    """The exit code: 1 if a case ended in an error."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--dry", action="store_true", help="walk through on the CPU, and time nothing")
    parser.add_argument(
        "--cells", nargs="+", metavar="CELL", default=CELLS, help=f"(default: {' '.join(CELLS)})"
    )
    parser.add_argument("--batches", nargs="+", type=int, default=BATCHES, metavar="B")
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES, metavar="H")
    parser.add_argument("--dtypes", nargs="+", default=DTYPE, metavar="FORMAT")
    parser.add_argument(
        "--steps", type=int, metavar="T", help=f"(default: {STEPS}, and {DRY_STEPS} where dry)"
    )
    parser.add_argument(
        "--output", type=Path, help=f"folder to write to (default: {FOLDER}, or {DRY_FOLDER})"
    )
    given = parser.parse_args(words)
    try:
        return _study(given)
    except (ValueError, store.ResultsError) as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130


def _study(given: argparse.Namespace) -> int:
    usual = DRY_STEPS if given.dry else STEPS
    grid = Grid(
        tuple(given.cells),
        tuple(given.batches),
        tuple(given.sizes),
        tuple(given.dtypes),
        steps=usual if given.steps is None else given.steps,
        dry=given.dry,
    )
    folder = given.output or (DRY_FOLDER if given.dry else FOLDER)
    run, ended = writer(folder, grid, _say)
    try:
        statuses = Study(grid, run, ended, folder, _say).run()
    finally:
        run.close()
    frame = page.prepared(load(run.folder))
    text = page.markdown(grid, frame, _machine())
    atomic.write_text(folder / f"{figure.NAME}.md", text)
    atomic.write_text(folder / f"{figure.NAME}.csv", page.table(frame))
    atomic.write_text(folder / f"{figure.NAME}.svg", figure.draw(grid, frame))
    if errors := figure.errors(frame):
        atomic.write_text(folder / f"{figure.ERRORS}.svg", errors)
    print(text)
    print(f"written: {folder}  (page: cellbench report {run.folder})")
    return code_of(statuses)


def _machine() -> str:
    facts = provenance.fingerprint()
    return str(facts.get("gpu") or facts.get("cpu") or "this machine")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
