"""Pairs of cases judged: timed, kept as a run, and said in every form."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from .. import store
from ..case import Case
from ..measure.judge import Judge, Judgement
from ..measure.pair import Pair, Timing, Trouble
from ..probe import series
from ..runs.schema import Settings
from ..store import provenance
from . import outputs
from .benchmarks import Outcome


def judged(
    outcome: Outcome, pairs: Sequence[Pair], cases: dict[str, Case], settings: Settings, output: Path | None
) -> int:
    """Times and judges the pairs; prints the outcome, writes it to the folder output (or the run's), returns
    the exit code.
    """
    writer = store.create(settings.results, manifest(settings, outcome))
    kept = Kept(writer, cases, (outcome.a, outcome.b))
    judge = Judge(
        np.random.default_rng(),
        timeout_s=settings.case_timeout_s,
        keep=kept.timing,
        say=lambda text: print(text, file=sys.stderr, flush=True),
    )
    judgements: tuple[Judgement, ...] = ()
    try:
        if pairs:
            judgements = tuple(judge.judge(pairs))
        kept.judgements(judgements)
    finally:  # an interrupt keeps what was timed
        writer.close()
    outcome = replace(outcome, judgements=judgements)
    print(outputs.text(outcome))
    outputs.write(output or writer.folder, outcome)
    if os.environ.get("GITHUB_ACTIONS") == "true":
        print(outputs.annotations(outcome))
    print(f"run: {writer.folder}  (outcome: {output or writer.folder})")
    return outputs.exit_code(outcome)


def manifest(settings: Settings, outcome: Outcome) -> dict[str, object]:
    """Of the run that holds what was timed."""
    command = shlex.join(["cellbench", *sys.argv[1:]])
    return provenance.manifest(command, {}, threads=1) | {"asked": settings.config, "title": outcome.title}


@dataclass(frozen=True)
class Kept:
    """Writes every timing as it comes: a case a pair, with the metric `seconds` for each arm; lag is the
    build.
    """

    writer: store.RunWriter
    cases: dict[str, Case]
    sides: tuple[str, str]

    def timing(self, name: str, stage: str, process: int, found: Timing | Trouble) -> None:
        case = replace(self.cases[name], probe="regress", variant=" : ".join(self.sides))
        if isinstance(found, Trouble):
            self.writer.append(case.id, case.definition, found.status, reason=found.reason)
            return
        content = []
        for arm, builds in found.samples.items():
            values, lags = [v for b in builds for v in b], [n for n, b in enumerate(builds) for _ in b]
            content.append(series(f"seconds_{arm}_{stage}", "s", values, lags, process=process))
        self.writer.append(case.id, case.definition, "ok", series=content)

    def judgements(self, judgements: Sequence[Judgement]) -> None:
        for j in judgements:
            case = replace(self.cases[j.name], probe="regress", variant=" : ".join(self.sides))
            effect = () if j.effect is None else (j.effect.estimate, j.effect.low, j.effect.high)
            found = [
                series(f"effect_{what}", "1", v)
                for what, v in zip(("estimate", "low", "high"), effect, strict=False)
            ]
            reason = f"{j.verdict}: {j.reason}"
            self.writer.append(case.id, case.definition, j.status, series=found, reason=reason, done=True)
