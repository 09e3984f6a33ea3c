"""Pairs of cases judged: timed, kept as a run, and printed and written in every form."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import store
from ..case import Case
from ..measure.judge import Call, Judge, Judgement
from ..measure.pair import Pair, Timing, Trouble
from ..measure.worker import Result, call
from ..probe import series
from ..runs.schema import ConfigError, Settings
from ..screen import annotate, last, tell
from ..store import code, provenance
from ..store.code import Watch
from . import outputs, resumed
from .benchmarks import THROUGHPUT, Comparison
from .resumed import Asked


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
    asked: Asked,
) -> int:
    """Times and judges the pairs, prints and writes the comparison; returns the exit code.

    The files go to the folder output, else to that of the run. What an interrupted run had timed is taken
    over.
    """
    known = {} if asked.folder is None else resumed.timings(asked.folder)
    with writing(settings, comparison, asked) as writer:
        run = RunWriter(writer, cases, (comparison.a, comparison.b))
        judge = Judge(
            np.random.default_rng(asked.seed),
            timeout_s=settings.case_timeout_s,
            keep=run.timing,
            call=of_one_code(settings),
            say=tell,
            known={name: known.get(run.case(name).id, {}) for name in cases},
        )
        judgements = tuple(judge.judge(pairs)) if pairs else ()
        run.judgements(judgements)
    return published(replace(comparison, judgements=judgements), writer.folder, output)


def of_one_code(settings: Settings) -> Call:
    """What runs a function in a process. A timing that comes after the code was edited is a failure."""
    changed = Watch(settings.config).changed

    def checked(*args: Any, on_message: Callable[[Any], object], **options: Any) -> Result:
        def message(content: tuple[str, Timing | Trouble] | None) -> None:
            if content is not None and (names := changed()):
                reason = f"{', '.join(names)} changed after the comparison began; compare anew"
                content = content[0], Trouble("failed", reason)
            on_message(content)

        return call(*args, on_message=message, **options)

    return checked


@contextmanager
def writing(settings: Settings, comparison: Comparison, asked: Asked) -> Iterator[store.RunWriter]:
    """The writer of a new run, or of the one to go on with. An interrupt keeps what was timed."""
    if asked.folder is None:
        writer = store.create(settings.results, manifest(settings, comparison, asked))
    else:
        writer, _ = store.reopen(asked.folder)
    try:
        yield writer
    except KeyboardInterrupt:
        tell(f"interrupted; go on with: {asked.line(writer.folder)}")
        raise
    finally:
        writer.close()


def published(comparison: Comparison, run: Path, output: Path | None) -> int:
    """Prints the comparison, writes its files, annotates on GitHub; returns the exit code."""
    print(outputs.text(comparison))
    outputs.write(output or run, comparison)
    if os.environ.get("GITHUB_ACTIONS") == "true":
        annotate(outputs.annotations(comparison))
    last(f"run: {run}  (outcome: {output or run})")
    return outputs.exit_code(comparison)


def manifest(settings: Settings, comparison: Comparison, asked: Asked) -> dict[str, object]:
    """The manifest of the run that holds what was timed."""
    command = shlex.join(["cellbench", *sys.argv[1:]])
    more = {"asked": settings.config, "title": comparison.title, resumed.ENTRY: asked.entry()}
    described = provenance.manifest(command, {}, threads=1)
    return described | more | {"code": code.digests(settings.config)}


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
        numbers = resumed.conditions(timing)
        content.append(series(f"conditions_{stage}", "1", numbers, range(len(numbers)), process=process))
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
