"""Measures cells, backends and tasks, and writes the results as a run.

Every KEY=VALUE is read and checked before anything runs. A list of values is a grid: each combination is a
case. A case that cannot run gives a row that says why, and takes no other case along.
"""

from __future__ import annotations

import argparse
import shlex
from typing import TYPE_CHECKING

from . import _hydra
from ._arguments import RUNS, epilog, word
from ._overrides import keys, line

if TYPE_CHECKING:
    from ..runs.schema import Settings
    from ..runs.search import Search
    from ..store.sweeps import Sweep

EXPERIMENTS = "quick|report|shapes|tasks|speed|regress"
EXAMPLES = """\
  cellbench run experiment=quick
  cellbench run 'cells=[lstm,gru]' 'backends=[numba,native]' 'probes=[throughput]' 'workload.steps=[64,256]'
  cellbench run 'cells=[my.py:MyCell,gru]' match=parameters --plan
  cellbench run -m workload.hidden_size=64,128
  cellbench run resume=results/runs/RUN"""
LAUNCHER, SETTINGS = "hydra/launcher", "hydra.launcher."
CODES = {
    0: "every case was measured, or could not be for a stated reason (unsupported, unavailable, ...)",
    1: "a case was wrong, failed, crashed, timed_out, out_of_memory or a mismatch",
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
    _hydra.add(parser)
    parser.epilog = "\n".join(
        [
            "keys:",
            keys(),
            line("experiment=NAME", f"{EXPERIMENTS}: named sets of keys, or one of ./conf/experiment"),
            line("resume=RUN", "the folder of an interrupted run, to go on where it stopped"),
            line("resume=SWEEP", "a sweep's name or folder: only what is missing runs, in its own runs"),
            line("trust=true", "beside resume=RUN: a run made elsewhere may import the files that it names"),
            "",
            epilog(EXAMPLES, CODES),
        ]
    )


def do(arguments: argparse.Namespace) -> int:
    """Runs `cellbench run`; returns the exit code."""
    from ..runs import compose, hydra_keys, launch, multirun, pruning, schema, search
    from ..runs.measure import measure, resume
    from ..runs.values import ConfigError
    from ..store.sweeps import BASIC, is_sweep, named

    shown = _hydra.asked(arguments)
    if any(o.startswith("resume=") for o in arguments.overrides):
        name, trust, launcher = _of_resume(arguments)
        if (folder := named(name, RUNS)) and is_sweep(folder):
            sweep, given = multirun.again(folder, trust, launcher)
            return _carried(sweep, given)
        return multirun.resume(name, trust, launcher) if launcher else resume(name, trust)
    if any(o.startswith("trust=") for o in arguments.overrides):
        raise ConfigError("trust is for resume=RUN, a run that was made elsewhere; leave it out")
    overrides, primary = [compose.quoted(o) for o in arguments.overrides], arguments.config_name
    command = ["cellbench", "run", *(["-m"] if arguments.multirun else []), *_hydra.typed(arguments)]
    if shown:
        return _hydra.show(shown, overrides, primary)
    if arguments.multirun:
        if arguments.plan and launch.chosen(launch.SWEEPER, overrides) != BASIC:
            return _plan_search(search.planned(overrides, primary))
        if arguments.plan:
            jobs = multirun.planned(compose.with_files(overrides, primary), primary)
            return max(plan(settings) for settings in jobs)
        sweep = multirun.begin(overrides, shlex.join([*command, *overrides]), primary)
        return _carried(sweep, sweep.manifest["given"])
    composed = compose.composed(overrides, primary, sweeps=False)
    settings = schema.check(compose.plain_config(composed))
    pruning.refuse(settings)
    if arguments.plan:
        return plan(settings)
    hydra_keys.apply(composed, settings.results)
    return measure(settings, shlex.join([*command, *overrides]))


def _carried(sweep: Sweep, given: list[str]) -> int:
    """Does the jobs of a sweep that are left, and prints how each stands; returns the exit code."""
    from ..runs import cancel, multirun
    from ..screen import counted, last, tell
    from ._sweeps import print_sweep

    if sweep.searched:
        tell(f"sweep {sweep.folder.name}: {sweep.manifest['sweeper']} chooses its jobs")
    else:
        again = f"cellbench run resume={shlex.quote(str(sweep.folder))}"
        tell(
            f"sweep {sweep.folder.name}: {counted(len(sweep.jobs), 'job')};"
            f" should it end early, go on with: {again}"
        )
    try:
        complete = multirun.carry(sweep, given)
    finally:
        print_sweep(sweep)
    if not complete:
        cancel.offer(sweep)
    if best := multirun.best(sweep):
        print(best)
    last(f"sweep: {sweep.folder}  (page: cellbench report {shlex.quote(str(sweep.folder))})")
    return multirun.exit_code(sweep) if complete else 130


def _of_resume(arguments: argparse.Namespace) -> tuple[str, bool, list[str]]:
    """(the run, whether it is trusted, hydra/launcher=NAME and hydra.launcher.KEY=VALUE if there are).

    Raises ConfigError where anything else stands beside one resume=RUN: the run has its configuration.
    """
    from ..runs.values import ConfigError

    first: dict[str, str] = {}
    for override in arguments.overrides:
        first.setdefault(override.partition("=")[0], override)
    kept = {key: first[key] for key in ("resume", "trust", LAUNCHER) if key in first}
    settings = [o for o in arguments.overrides if o.removeprefix("+").startswith(SETTINGS)]
    launcher = [*(kept[key] for key in (LAUNCHER,) if key in kept), *settings]
    others = [o for o in arguments.overrides if all(o is not one for one in (*kept.values(), *settings))]
    flags = [*_hydra.asked(arguments), *(["--plan"] if arguments.plan else [])]
    if arguments.config_name != "config":
        flags.append("--config-name")
    if arguments.multirun and not launcher:
        flags.append("--multirun")
    if others or flags:
        raise ConfigError(
            f"resume takes its configuration from the run; leave out {' '.join([*others, *flags])}"
        )
    if kept.get("trust", "trust=false") not in ("trust=true", "trust=false"):
        raise ConfigError(f"{kept['trust']}: trust must be true or false")
    return first["resume"].partition("=")[2], kept.get("trust") == "trust=true", launcher


def plan(settings: Settings) -> int:
    """Prints the cases and about how long they take."""
    from ..runs.groups import estimate_s

    print(f"{_cases(settings)}, about {_duration(estimate_s(settings.probes))}")
    return 0


def _plan_search(found: Search) -> int:
    """Prints the cases at the first values, and what a search will do."""
    from ..screen import counted

    cases = _cases(found.settings)
    trials = "trials" if found.trials is None else counted(found.trials, "trial")
    print(f"{found.sweeper}: {trials} of {cases} each, about {_duration(found.estimate_s)}")
    print(f"searched for {found.goal}: {' '.join(found.ranges) or 'nothing, for no key has a range'}")
    if found.first:
        print(f"each trial chooses its values; the cases above have the first: {' '.join(found.first)}")
    return 0


def _cases(settings: Settings) -> str:
    """Prints the cases; returns '3 cases'."""
    from ..screen import counted

    for planned in settings.probes:
        for case in planned.cases:
            print(f"{case.id}  {case}")
    return counted(sum(len(planned.cases) for planned in settings.probes), "case")


def _duration(seconds: float) -> str:
    text = f"{seconds / 60:.1f} min" if seconds >= 60 else f"{max(seconds, 1):.0f} s"
    return f"{text} on two slow cores"
