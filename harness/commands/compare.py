"""Compares two stored runs, or two backends or cells that it measures now.

RUN RUN: two folders that `cellbench run` wrote, the older first. Their times are compared through the backend
that both timed in the same processes. Of imported runs, two or more, the times are shown side by side.

A:B: two backends, or two cells, timed in the same processes. It says of every benchmark how much faster or
slower B is, and whether that is sure.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from cellbench.cells import find

from ._arguments import CODES, RUNS, epilog, path, word
from ._overrides import RESUME, TIMED, keys, line, refuse_unread, resumed_run
from ._table import print_table

DEFAULTS = {
    "cells": "[elman,lstm,gru], where A:B are backends",
    "backends": "[numba], where A:B are cells",
    "workload.steps": "64",
}
EXAMPLES = """\
  cellbench compare native:numba
  cellbench compare lstm:gru 'backends=[torch]' workload.hidden_size=128
  cellbench compare results/runs/RUN results/runs/RUN --json comparison.json"""


def add(parser: argparse.ArgumentParser) -> None:
    """Names the arguments."""
    parser.usage = (
        "cellbench compare RUN RUN [RUN ...] [--results DIR] [--json FILE]\n"
        "       cellbench compare A:B [KEY=VALUE ...] [--output DIR]\n"
        "       cellbench compare resume=RUN [--output DIR]"
    )
    parser.add_argument(
        "sides", nargs="*", type=word, metavar="RUN|A:B|KEY=VALUE", help="as above; the keys stand below"
    )
    parser.add_argument(
        "--results",
        type=path,
        metavar="DIR",
        help=f"of RUN RUN: where runs are looked for by name (default: {RUNS})",
    )
    parser.add_argument(
        "--json", type=path, metavar="FILE", help="of RUN RUN ...: write the comparison as JSON too"
    )
    parser.add_argument(
        "--output",
        type=path,
        metavar="DIR",
        help="of A:B: folder of regress.md, regress.json and junit.xml (default: the run's folder)",
    )
    codes = {
        0: "nothing is slower",
        1: "the newer run, or B, is slower in a benchmark; or one is missing or broken",
        3: f"{CODES[3]}, or nothing was measured",
    }
    parser.epilog = "\n".join(
        ["keys of A:B:", keys(TIMED, DEFAULTS), line(*RESUME), "", epilog(EXAMPLES, codes)]
    )


def do(arguments: argparse.Namespace) -> int:
    """Runs `cellbench compare`; returns the exit code."""
    if any(map(is_selector, arguments.sides)) or any(s.startswith("resume=") for s in arguments.sides):
        return _now(arguments)
    if arguments.output is not None:
        raise ValueError("--output is for A:B, which is measured now; two runs take --json FILE")
    from ..regress.stored import compare

    if len(arguments.sides) > 2:
        return _side_by_side(arguments.sides, arguments.results or RUNS, arguments.json)
    if len(arguments.sides) != 2:
        given = " ".join(arguments.sides) or "nothing"
        raise ValueError(f"compare takes two runs, or one A:B of two backends or cells; it got {given}")
    a, b = arguments.sides
    return compare(a, b, arguments.results or RUNS, arguments.json)


def _side_by_side(names: Sequence[str], results: Path, json: Path | None) -> int:
    """Prints the times of several imported runs, and writes them as JSON; returns the exit code."""
    from ..regress.imported_times import record, table
    from ..regress.stored import side_by_side, write_json

    times = side_by_side(names, results)
    header, rows = table(times)
    print_table(header, rows, header[1:])
    print("", *times.notes, sep="\n", flush=True)
    if json:
        write_json(json, record(times))
    return times.exit_code


def _now(arguments: argparse.Namespace) -> int:
    from ..regress import outputs
    from ..regress.selectors import again, compare
    from ..runs.values import ConfigError

    if arguments.results or arguments.json:
        flag, instead = ("--json", "--output DIR") if arguments.json else ("--results", "results=DIR")
        raise ConfigError(f"{flag} is for two stored runs; A:B, which is measured now, takes {instead}")
    outputs.check(arguments.output)
    if any(side.startswith("resume=") for side in arguments.sides):
        return again(resumed_run(arguments.sides), arguments.output)
    # every argument that is no KEY=VALUE, so that a run beside an A:B is named too
    selectors = [side for side in arguments.sides if "=" not in side.partition(":")[0]]
    if len(selectors) != 1:
        hint = "; cells of files are A.py:NAME:B.py:NAME, and functions go to harness.compare, in Python"
        raise ConfigError(
            f"compare takes two runs, or one A:B of two backends or two cells; it got {' '.join(selectors)!r}"
            f"{hint if any('.py:' in s for s in selectors) else ''}"
        )
    overrides = [side for side in arguments.sides if side != selectors[0]]
    refuse_unread(overrides, "compare A:B")
    return compare(selectors[0], overrides, arguments.output)


def is_selector(argument: str) -> bool:
    """Whether an argument is A:B, rather than a run's folder or KEY=VALUE."""
    return ":" in argument.partition("=")[0] and not find.given_path(argument).exists()
