"""Types of arguments, and the parts that the help of several commands has."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

RUNS = Path("results/runs")
DIGITS = 9  # of a size
RUNS_HELP = "a run's folder, a folder of runs, or a sweep's name or folder"
CELL_HELP = "a name, path/to/file.py:Name, or with options as elman:activation=relu"
CODES = {
    0: "all well",
    1: "failed",
    2: "bad input, said in one line",
    3: "it cannot tell",
    130: "interrupted",
}


def size(text: str) -> int:
    """A whole number of at least 1, of as many digits as any size that can be addressed."""
    if not (text.isdecimal() and text.isascii()) or len(text) > DIGITS or not int(text):
        shown = repr(text) if len(text) <= DIGITS else f"a number of {len(text)} digits"
        raise argparse.ArgumentTypeError(f"{shown} is no whole number from 1 to {10**DIGITS - 1:,}")
    return int(text)


def one_of(known: Sequence[str]) -> Callable[[str], str]:
    """A type of argument: one of these words. argparse's own choices name no nearest one."""

    def word(text: str) -> str:
        if text not in known:
            from cellbench.cells.find import nearest

            raise argparse.ArgumentTypeError(
                f"unknown value {text!r}{nearest(text, known)} values: {', '.join(known)}"
            )
        return text

    word.known = known  # type: ignore[attr-defined]  # for the completion of the command line

    return word


def epilog(examples: str, codes: dict[int, str] | None = None) -> str:
    """The end of a command's help: examples, and the exit codes, some of which a command says in its way."""
    all_codes = {0: CODES[0], **(codes or {}), 2: CODES[2], 130: CODES[130]}
    lines = "\n".join(f"  {code:<4} {all_codes[code]}" for code in sorted(all_codes))
    return f"examples:\n{examples.rstrip()}\n\nexit codes:\n{lines}"


def path(text: str) -> Path:
    """A file or folder as a person writes it, with `~`; not empty, and one that the system takes."""
    from cellbench.cells.find import given_path

    try:
        return given_path(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def with_sweeps(paths: Sequence[Path], results: Path = RUNS) -> list[Path]:
    """The paths as they are given, and the folder of a sweep for its name."""
    from ..store.sweeps import is_sweep, named

    folders = [named(str(path), results) for path in paths]
    return [folder if is_sweep(folder) else path for path, folder in zip(paths, folders, strict=True)]


def word(text: str) -> str:
    """A name that is not empty, as a variable that was never set would be."""
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty (an empty variable?)")
    return text
