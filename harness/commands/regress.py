"""Measures the working tree against a revision: what became slower, and is it sure.

The revision is taken out of git, and both sides are timed in the same processes. A change counts where it
stands again in new processes. Benchmarks are small by default, so that every pull request can afford them.

In a repository of yours name its cells, 'cells=[path/to/file.py:Name]': the base is a revision of that
repository, or a wheel of it, and a cell that computes another thing is a failure. In the clone of cellbench
its own cells are compared; those whose file changed since are added, and backends too.
"""

from __future__ import annotations

import argparse

from ._arguments import CODES, epilog, path, word
from ._overrides import RESUME, TIMED, keys, line, refuse_unread, resumed_run

DEFAULTS = {
    "cells": "[elman,lstm,gru] and changed ones",
    "backends": "[numba] and changed ones",
    "workload.steps": "64",
}
CODES_OF_COMPARISON = {
    0: "no benchmark became slower",
    1: "a confirmed regression, or a benchmark that is missing or broken now",
    3: f"{CODES[3]}, or nothing was measured",
}
EXAMPLES = """\
  cellbench regress base=main
  cellbench regress base=HEAD~3 'cells=[lstm]' 'backends=[numba,torch]' workload.hidden_size=128
  cellbench regress base=v1.0 --output results/regress
  cellbench regress base=main 'cells=[src/mycell.py:MyCell]'
  cellbench regress base=dist/mine-1.0-py3-none-any.whl 'cells=[src/mycell.py:MyCell]'"""


def add(parser: argparse.ArgumentParser) -> None:
    """Names the arguments."""
    parser.usage = (
        "cellbench regress base=REV [KEY=VALUE ...] [--output DIR]\n"
        "       cellbench regress resume=RUN [--output DIR]"
    )
    parser.add_argument(
        "overrides",
        nargs="*",
        type=word,
        metavar="KEY=VALUE",
        help="base=REV, a branch, tag or commit of git, or a wheel; and other keys, which stand below",
    )
    parser.add_argument(
        "--output",
        type=path,
        metavar="DIR",
        help="folder of regress.md, regress.json and junit.xml (default: the run's folder)",
    )
    parser.epilog = "\n".join(
        ["keys:", keys(TIMED, DEFAULTS), line(*RESUME), "", epilog(EXAMPLES, CODES_OF_COMPARISON)]
    )


def do(arguments: argparse.Namespace) -> int:
    """Runs `cellbench regress`; returns the exit code."""
    from ..regress import outputs
    from ..regress.repository import again, regress
    from ..runs.values import ConfigError

    if any(o.startswith("resume=") for o in arguments.overrides):
        run = resumed_run(arguments.overrides)
        outputs.check(arguments.output)
        return again(run, arguments.output)
    bases = [o.partition("=")[2] for o in arguments.overrides if o.startswith("base=")]
    if len(bases) != 1 or not bases[0]:
        raise ConfigError(
            "regress needs one base=REV, the revision to compare the working tree with: base=main"
        )
    overrides = [o for o in arguments.overrides if not o.startswith("base=")]
    refuse_unread(overrides, "regress")
    outputs.check(arguments.output)
    return regress(bases[0], overrides, arguments.output)
