"""Pairs of cases judged: timed, kept as a run, and printed and written in every form."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import store
from ..case import Case
from ..measure.judge import Judge, Judgement
from ..measure.pair import Pair, Timing, Trouble
from ..probe import series
from ..runs.schema import ConfigError, Settings
from ..screen import annotate, last, tell
from ..store import provenance
from . import outputs
from .benchmarks import THROUGHPUT, Comparison


def throughput(settings: Settings) -> Sequence[Case]:
    """The cases to time. Raises ConfigError where there is none, or where several threads are asked for."""
    cases = [c for planned in settings.probes if planned.probe.name == THROUGHPUT for c in planned.cases]
    if not cases:
        raise ConfigError("regress times what the probe throughput times; leave probes out")
    if any(case.threads > 1 for case in cases):
        raise ConfigError(
            "threads must be 1 here: on shared cores two programs of several threads differ by any amount"
        )
    return cases


def judged(
    comparison: Comparison,
    pairs: Sequence[Pair],
    cases: dict[str, Case],
    settings: Settings,
    output: Path | None,
) -> int:
    """Times and judges the pairs, prints and writes the comparison; returns the exit code.

    The files go to the folder output, else to that of the run.
    """
    writer = store.create(settings.results, manifest(settings, comparison))
    run = RunWriter(writer, cases, (comparison.a, comparison.b))
    judge = Judge(
        np.random.default_rng(),
        timeout_s=settings.case_timeout_s,
        keep=run.timing,
        say=tell,
    )
    judgements: tuple[Judgement, ...] = ()
    try:
        if pairs:
            judgements = tuple(judge.judge(pairs))
        run.judgements(judgements)
    finally:  # an interrupt keeps what was timed
        writer.close()
    return published(replace(comparison, judgements=judgements), writer.folder, output)


def published(comparison: Comparison, run: Path, output: Path | None) -> int:
    """Prints the comparison, writes its files, annotates on GitHub; returns the exit code."""
    print(outputs.text(comparison))
    outputs.write(output or run, comparison)
    if os.environ.get("GITHUB_ACTIONS") == "true":
        annotate(outputs.annotations(comparison))
    last(f"run: {run}  (outcome: {output or run})")
    return outputs.exit_code(comparison)


def manifest(settings: Settings, comparison: Comparison) -> dict[str, object]:
    """The manifest of the run that holds what was timed."""
    command = shlex.join(["cellbench", *sys.argv[1:]])
    more = {"asked": settings.config, "title": comparison.title}
    return provenance.manifest(command, {}, threads=1) | more


@dataclass(frozen=True)
class RunWriter:
    """Writes every timing as it comes: a case a pair, metric `seconds` for each arm, lag the build."""

    writer: store.RunWriter
    cases: dict[str, Case]
    sides: tuple[str, str]

    def case(self, name: str) -> Case:
        return replace(self.cases[name], probe="regress", variant=" : ".join(self.sides))

    def timing(self, name: str, stage: str, process: int, timing: Timing | Trouble) -> None:
        case = self.case(name)
        if isinstance(timing, Trouble):
            self.writer.append(case.id, case.definition, timing.status, reason=timing.reason)
            return
        content = [self.seconds(f"{arm}_{stage}", builds, process) for arm, builds in timing.samples.items()]
        self.writer.append(case.id, case.definition, "ok", series=content)

    def seconds(self, name: str, builds: Sequence[Sequence[float]], process: int) -> dict[str, Any]:
        values, lags = [v for b in builds for v in b], [n for n, b in enumerate(builds) for _ in b]
        return series(f"seconds_{name}", "s", values, lags, process=process)

    def judgements(self, judgements: Sequence[Judgement]) -> None:
        for j in judgements:
            case, effect = self.case(j.name), vars(j.effect) if j.effect else {}
            content = [series(f"effect_{key}", "1", value) for key, value in effect.items()]
            reason = f"{j.verdict}: {j.reason}"
            self.writer.append(case.id, case.definition, j.status, series=content, reason=reason, done=True)
