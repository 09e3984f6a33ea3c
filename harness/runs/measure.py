"""A run measured from its first case, or gone on with where it was interrupted."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import replace

from cellbench.cells.kernels import modules

from .. import store
from ..measure.started import begin_server
from ..store import provenance
from ..store.code import Watch
from .beside import Beside
from .groups import estimate_s, may_fork
from .progress import Progress
from .pruning import Pruning
from .resume import interrupted
from .runner import IMPORTED, Runner
from .schema import Settings, check
from .values import ConfigError


def measure(
    settings: Settings,
    command: str,
    named: Callable[[str], object] = lambda name: None,
    beside: Beside | None = None,
    pruning: Pruning | None = None,
) -> int:
    """Measures all cases in a new run; returns the exit code. `command` is what the manifest says.

    `named` is told the run's name before there is the run. `beside` looks at other jobs of the sweep, and
    `pruning` ends hopeless cases of a search.
    """
    _begin_server(settings)
    manifest = provenance.manifest(command, settings.config, settings.config["threads"])
    return _work(store.create(settings.results, manifest, named), settings, set(), beside, pruning)


def resume(
    name: str, trust: bool = False, beside: Beside | None = None, pruning: Pruning | None = None
) -> int:
    """Goes on with the run in a folder; returns the exit code.

    Raises ConfigError where a new measurement would not belong to the old ones, and for a run that this user
    did not make, unless it is trusted.
    """
    folder, config = interrupted(name, trust)
    settings = check(config)
    _begin_server(settings)
    writer, ended = store.reopen(folder)
    planned = {case.id for probe in settings.probes for case in probe.cases}
    if foreign := set(ended) - planned:
        writer.release()
        raise ConfigError(
            f"run {name} has {len(foreign)} cases that are no longer asked for (was a cell's file changed?);"
            " start a new run"
        )
    print(state_of(ended, len(planned)))
    done = {case for case, status in ended.items() if status in store.ENDED}
    return _work(writer, settings, done, beside, pruning)


def _begin_server(settings: Settings) -> None:
    """Has what first passes are forked from import meanwhile."""
    if any(may_fork(case) for planned in settings.probes for case in planned.cases):
        begin_server(IMPORTED)


def state_of(ended: dict[str, str], planned: int) -> str:
    """The state of an interrupted run: '3 of 9 cases are done; again: 1 crashed; 5 left'."""
    again = Counter(status for status in ended.values() if status not in store.ENDED)
    repeated = f"; again: {', '.join(f'{n} {status}' for status, n in again.items())}" if again else ""
    return f"{len(ended) - again.total()} of {planned} cases are done{repeated}; {planned - len(ended)} left"


def _work(
    writer: store.RunWriter,
    settings: Settings,
    done: Collection[str],
    beside: Beside | None,
    pruning: Pruning | None,
) -> int:
    """Measures all but the cases that are done."""
    remaining = [
        replace(planned, cases=[case for case in planned.cases if case.id not in done])
        for planned in settings.probes
    ]
    if reason := modules.unwritable():
        print(f"warning: {reason}: each process compiles its kernels again", file=sys.stderr)
    progress = Progress(estimate_s(remaining))
    changed = Watch(settings.config).changed
    limits = settings.case_timeout_s, settings.budget_s
    runner = Runner(writer, progress, *limits, done, changed, beside, pruning)
    try:
        # all cases, also those that are done: a ratio needs its partner in the same process
        code = runner.run(settings.probes)
        shutil.rmtree(writer.kept, ignore_errors=True)
    except KeyboardInterrupt:
        code = 130
    finally:
        progress.close()
        writer.close()
    if code == 130:
        print(
            f"interrupted; go on with: cellbench run resume={shlex.quote(str(writer.folder))}",
            file=sys.stderr,
        )
    counts = Counter(runner.statuses.values())
    none = "nothing was measured" if code == 130 else "nothing left to measure"
    progress.end(
        ", ".join(f"{n} {status}" for status, n in counts.items()) or none,
        f"run: {writer.folder}  (page: cellbench report {shlex.quote(str(writer.folder))})",
    )
    return code
