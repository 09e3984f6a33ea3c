"""Regress where the dependencies of the two revisions differ: each in an environment of its own, and what
that is worth.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ... import store
from ...case import Case
from ...probe import series
from ...runs.schema import ConfigError, Settings
from .. import judged, outputs
from ..benchmarks import Outcome
from .abba import CANNOT_RUN, Apart, Found
from .environments import different_dependencies

__all__ = ["apart", "different_dependencies"]
Command = Callable[[Case], str]


def apart(
    outcome: Outcome,
    root: Path,
    top: Path,
    settings: Settings,
    output: Path | None,
    command: Command,
    how: Apart | None = None,
) -> int:
    """Judges every throughput case of `settings` between the revisions in the folders root (A) and top (B).

    `outcome` brings the title and what is known before; command(case) is what measures one case again. Prints and writes as
    `judged` does; returns the exit code.
    """
    cases = {str(replace(case, probe="")): case for case in throughput(settings)}
    writer = store.create(settings.results, judged.manifest(settings, outcome))
    kept = Kept(writer, cases, (outcome.a, outcome.b))
    how = how or Apart(np.random.default_rng(), timeout_s=settings.case_timeout_s, say=to_stderr)
    try:
        judgements, missing, notes = replace(how, keep=kept.process).judge(cases, root, top)
        kept.judgements(judgements)
    finally:  # an interrupt keeps what was timed
        writer.close()
    outcome = replace(
        outcome,
        judgements=tuple(judgements),
        missing=(*outcome.missing, *missing),
        notes=(*outcome.notes, *notes),
        commands={name: command(case) for name, case in cases.items()},
        study="",  # it is of sides that share their processes
    )
    outputs.write(output or writer.folder, outcome)
    print(outputs.text(outcome))
    if told := outputs.annotations(outcome):
        print(told)
    print(f"run: {writer.folder}  (outcome: {output or writer.folder})")
    return outputs.exit_code(outcome)


def throughput(settings: Settings) -> Sequence[Case]:
    """What is timed. Raises ConfigError where there is nothing, or where several threads are asked for."""
    cases = [c for planned in settings.probes if planned.probe.name == "throughput" for c in planned.cases]
    if not cases:
        raise ConfigError("regress times what the probe throughput times; leave probes out")
    if any(case.threads > 1 for case in cases):
        raise ConfigError(
            "threads must be 1 here: on shared cores two programs of several threads differ by any amount"
        )
    return cases


class Kept(judged.Kept):
    """Writes what every process found as it comes: seconds of the benchmark and of its anchor; lag is the
    build.
    """

    def process(self, name: str, stage: str, side: str, process: int, found: Found) -> None:
        case = replace(self.cases[name], probe="regress", variant=" : ".join(self.sides))
        if found["status"] != "ok":
            status = "unsupported" if found["status"] in CANNOT_RUN else found["status"]
            self.writer.append(case.id, case.definition, status, reason=f"{side.upper()}: {found['reason']}")
            return
        content = []
        for what in ("benchmark", "anchor"):
            builds = found[what]
            values, lags = [v for b in builds for v in b], [n for n, b in enumerate(builds) for _ in b]
            content.append(series(f"seconds_{what}_{side}_{stage}", "s", values, lags, process=process))
        self.writer.append(
            case.id, case.definition, "ok", series=content, implementation=found["implementation"]
        )


def to_stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
