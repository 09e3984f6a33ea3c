"""Types of arguments, and the parts that the help of several commands has."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

RUNS = Path("results/runs")
CELL_HELP = "a name, path/to/file.py:Name, or with options as elman:activation=relu"
CODES = {
    0: "all well",
    1: "failed",
    2: "bad input, said in one line",
    3: "it cannot tell",
    130: "interrupted",
}


def size(text: str) -> int:
    """A whole number of at least 1."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1")
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

    return word


def epilog(examples: str, codes: dict[int, str] | None = None) -> str:
    """The end of a command's help: examples, and the exit codes, some of which a command says in its way."""
    all_codes = {0: CODES[0], **(codes or {}), 2: CODES[2], 130: CODES[130]}
    lines = "\n".join(f"  {code:<4} {all_codes[code]}" for code in sorted(all_codes))
    return f"examples:\n{examples.rstrip()}\n\nexit codes:\n{lines}"


def output_folder(given: str | None) -> Path | None:
    """The folder that --output names. Raises ValueError for an empty name."""
    if given is None:
        return None
    if not given:
        raise ValueError("--output needs a folder")
    return Path(given).expanduser()
