"""Regress where the dependencies of the two revisions differ: every case judged from processes of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...case import Case
from ...runs.schema import Settings
from ...screen import tell
from ...store.code import Watch
from ..benchmarks import Comparison, columns_of, name_of
from ..judged import RunWriter, published, throughput, writing
from ..resumed import Asked, lines
from .abba import Apart
from .side_levels import CANNOT_RUN, Measured

Command = Callable[[Case], str]


def apart(
    comparison: Comparison,
    root: Path,
    top: Path,
    settings: Settings,
    output: Path | None,
    command: Command,
    asked: Asked,
    how: Apart | None = None,
) -> int:
    """Judges every throughput case of `settings` between the revisions in the folders root (A) and top (B).

    `comparison` brings the title and what is known before; command(case) measures one case again. Prints and
    writes as `judged` does; returns the exit code.
    """
    cases = {name_of(columns_of(case)): case for case in throughput(settings)}
    how = how or Apart(np.random.default_rng(asked.seed), timeout_s=settings.case_timeout_s, say=tell)
    before = {} if asked.folder is None else lines(asked.folder)
    with writing(settings, comparison, asked) as writer:
        run = ApartWriter(writer, cases, (comparison.a, comparison.b))
        known = {name: before.get(run.case(name).id, {}) for name in cases}
        watched = replace(how, keep=run.process, known=known, changed=Watch(settings.config).changed)
        judgements, missing, notes = watched.judge(cases, root, top)
        run.judgements(judgements)
    comparison = replace(
        comparison,
        judgements=tuple(judgements),
        missing=(*comparison.missing, *missing),
        notes=(*comparison.notes, *notes),
        commands={name: command(case) for name, case in cases.items()},
        study="",  # it is of sides that share their processes
    )
    return published(comparison, writer.folder, output)


class ApartWriter(RunWriter):
    """Writes the seconds of each process as they come, benchmark and anchor; lag is the build."""

    def process(self, name: str, stage: str, side: str, process: int, measured: Measured) -> None:
        case = self.case(name)
        if measured["status"] != "ok":
            status = "unsupported" if measured["status"] in CANNOT_RUN else measured["status"]
            reason = f"{side.upper()}: {measured['reason']}"
            self.writer.append(case.id, case.definition, status, reason=reason)
            return
        content = [
            self.seconds(f"{kind}_{side}_{stage}", measured[kind], process)
            for kind in ("benchmark", "anchor")
        ]
        implementation = measured["implementation"]
        self.writer.append(case.id, case.definition, "ok", series=content, implementation=implementation)
