"""Measures cells, backends and tasks, and writes the results as a run.

Every KEY=VALUE is read and checked before anything runs. A list of values is a grid: each combination is a
case. A case that cannot run gives a row that says why, and takes no other case along.
"""

from __future__ import annotations

import argparse
import shlex
from typing import TYPE_CHECKING

from ._arguments import epilog, word
from ._overrides import keys, line

if TYPE_CHECKING:
    from ..runs.schema import Settings

EXPERIMENTS = "quick|report|shapes|tasks|speed|regress"
EXAMPLES = """\
  cellbench run experiment=quick
  cellbench run 'cells=[lstm,gru]' 'backends=[numba,native]' 'probes=[throughput]' 'workload.steps=[64,256]'
  cellbench run 'cells=[my.py:MyCell,gru]' match=parameters --plan
  cellbench run -m workload.hidden_size=64,128
  cellbench run resume=results/runs/RUN"""
CODES = {
    0: "every case was measured, or could not be for a stated reason (unsupported, unavailable, ...)",
    1: "a case was wrong, failed, crashed, timed_out or out_of_memory",
}


def add(parser: argparse.ArgumentParser) -> None:
    """Names the arguments."""
    parser.usage = "cellbench run [KEY=VALUE ...] [--plan] [-m]\n       cellbench run resume=RUN"
    parser.add_argument(
        "overrides",
        nargs="*",
        type=word,
        metavar="KEY=VALUE",
        help="what to measure and how; the keys stand below",
    )
    parser.add_argument(
        "--plan", action="store_true", help="print the cases and about how long they take; run nothing"
    )
    parser.add_argument(
        "-m", "--multirun", action="store_true", help="Hydra's multirun: KEY=A,B makes a run of each value"
    )
    parser.epilog = "\n".join(
        [
            "keys:",
            keys(),
            line("experiment=NAME", f"{EXPERIMENTS}: named sets of keys, in conf/experiment"),
            line("resume=RUN", "the folder of an interrupted run, to go on where it stopped"),
            "",
            epilog(EXAMPLES, CODES),
        ]
    )


def do(arguments: argparse.Namespace) -> int:
    """Runs `cellbench run`; returns the exit code."""
    from ..runs import compose, multirun, schema
    from ..runs.measure import measure, resume

    interrupted = [o.partition("=")[2] for o in arguments.overrides if o.startswith("resume=")]
    if interrupted:
        _refuse_others(arguments)
        return resume(interrupted[0])
    overrides = [compose.quoted(o) for o in arguments.overrides]
    if arguments.multirun:
        if arguments.plan:
            return max(plan(settings) for settings in multirun.jobs(overrides))
        return multirun.multirun(overrides)
    settings = schema.check(compose.compose(overrides))
    if arguments.plan:
        return plan(settings)
    return measure(settings, shlex.join(["cellbench", "run", *overrides]))


def _refuse_others(arguments: argparse.Namespace) -> None:
    """Raises ConfigError where anything stands beside one resume=RUN: the run has its configuration."""
    from ..runs.values import ConfigError

    first = next(o for o in arguments.overrides if o.startswith("resume="))
    others = [o for o in arguments.overrides if o is not first]
    flags = [f"--{name}" for name in ("plan", "multirun") if getattr(arguments, name)]
    if others or flags:
        raise ConfigError(
            f"resume takes its configuration from the run; leave out {' '.join([*others, *flags])}"
        )


def plan(settings: Settings) -> int:
    """Prints the cases and about how long they take."""
    from ..runs.runner import estimate_s

    for planned in settings.probes:
        for case in planned.cases:
            print(f"{case.id}  {case}")
    print(
        f"{sum(len(planned.cases) for planned in settings.probes)} cases, about"
        f" {estimate_s(settings.probes) / 60:.1f} min on two slow cores"
    )
    return 0
