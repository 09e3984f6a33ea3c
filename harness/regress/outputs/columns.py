"""The text for a terminal: a row for each benchmark, why, and the command to repeat it."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Iterator, Sequence
from itertools import islice

from ...measure.judge import Judgement
from ...measure.verdict import Verdict
from ..benchmarks import Comparison
from .decision import headline
from .grid import grid
from .words import HEADER, RIGHT, cells_of, warnings_of

MOST_FACTS = 20
NUMBERS = (1, 2, 3)  # columns of a table of times: A, B, ratio
WIDTH, LONGEST_NAME = 120, 66  # the other columns take no more than 52


def text(
    comparison: Comparison,
    width: int = WIDTH,
    table: tuple[Sequence[str], Sequence[Sequence[str]]] | None = None,
) -> str:
    """All of a comparison, the headline last; no line is wider than `width` but for one word and a table.

    table: (header, rows) of times, shown in place of the judgements where nothing can be judged.
    """
    lines = _wrapped(comparison.title, width, "")
    if comparison.judgements:
        says = "the ratio is B's time over A's" if table else "+ is more time in B"
        lines += _wrapped(f"A is {comparison.a}, B is {comparison.b}; {says}", width, "")
        lines += ["", *(grid(*table, NUMBERS) if table else _table(comparison, width))]
    for heading, entries in (
        ("missing", comparison.missing),
        ("exactly different", _facts(comparison)),
        ("", _notes(comparison)),
    ):
        lines += ["", heading] if entries and heading else [""] if entries else []
        lines += [line for entry in entries for line in _wrapped(entry, width, "  " if heading else "")]
    return "\n".join([*lines, "", *_wrapped(headline(comparison), width, "")])


def _table(comparison: Comparison, width: int) -> Iterator[str]:
    """The rows, each with its reason and command below; commands stand beside the rows where all fit."""
    names = [
        textwrap.wrap(j.name, LONGEST_NAME, subsequent_indent="  ") or [""] for j in comparison.judgements
    ]
    rows = [
        ["\n".join(lines), *cells_of(j)[1:]] for lines, j in zip(names, comparison.judgements, strict=True)
    ]
    header, *lines = grid(HEADER, rows, RIGHT)
    beside = max(map(len, (header, *lines)))
    fits = all(beside + 2 + len(command) <= width for command in comparison.commands.values())
    yield header
    printed = iter(lines)
    for judgement, name in zip(comparison.judgements, names, strict=True):
        command = comparison.commands.get(judgement.name, "")
        line = next(printed)
        yield f"{line.ljust(beside)}  {command}".rstrip() if fits else line
        yield from islice(printed, len(name) - 1)
        yield from _why(judgement, width)
        if command and not fits:
            yield from _command(command, width)


def _why(judgement: Judgement, width: int) -> Iterator[str]:
    if judgement.verdict is not Verdict.SAME:
        yield from _wrapped(judgement.reason, width, "    ")


def _command(command: str, width: int) -> Iterator[str]:
    """The command, broken between its words where it is too wide, so that it can be pasted still."""
    if len(command) + 6 <= width:
        yield f"    $ {command}"
        return
    line = "    $"
    for word in map(shlex.quote, shlex.split(command)):
        if len(line) + len(word) + 3 > width and line.strip() not in ("$", ""):
            yield f"{line} \\"
            line = "     "
        line += f" {word}"
    yield line


def _facts(comparison: Comparison) -> list[str]:
    gated_first = sorted(comparison.facts, key=lambda fact: not fact.gated)
    lines = [f"{f.name}: {f.a} -> {f.b}{'' if f.gated else ' (for information)'}" for f in gated_first]
    return lines[:MOST_FACTS] + ([f"and {len(lines) - MOST_FACTS} more"] if len(lines) > MOST_FACTS else [])


def _notes(comparison: Comparison) -> list[str]:
    warnings = [f"warning: {line}" for line in warnings_of(comparison)]
    return [*warnings, *comparison.notes, *([comparison.study] if comparison.study else [])]


def _wrapped(line: str, width: int, indent: str) -> list[str]:
    return textwrap.wrap(
        line,
        width,
        initial_indent=indent,
        subsequent_indent=indent + "  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
