"""Works the cases off in workers, and keeps every result at once: the same command goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from ... import store
from ...case import Case
from ...measure import worker
from ...probe import CaseResult
from ...runs.resume import same, same_commit
from ...runs.values import ConfigError
from ...store import provenance
from . import dry, timed
from .grid import Grid

COMMAND = "python -m cellbench.harness.studies.gpu"
TIMEOUT_S = 300.0  # of silence
Say = Callable[[str], object]


def writer(folder: Path, grid: Grid, say: Say) -> tuple[store.RunWriter, dict[str, str]]:
    """The run of this grid in the folder, to go on with, and how its finished cases ended; else a new one."""
    parent = folder / "runs"
    config = {"gpu": grid.definition, "threads": 1}
    for run in reversed(_runs(parent)):
        manifest = store.read_manifest(run)
        if manifest.get("config") != config:
            continue
        try:
            same_commit(run.name, manifest)
            same(run.name, manifest, config)
        except ConfigError as error:
            say(f"{error}: all is measured anew")
            break
        return store.reopen(run)
    return store.create(parent, provenance.manifest(COMMAND, config, 1)), {}


def _runs(parent: Path) -> list[Path]:
    """Folders of runs, the oldest first."""
    if not parent.is_dir():
        return []
    return sorted(path for path in parent.iterdir() if (path / store.MANIFEST).is_file())


@dataclass
class Study:
    """The cases of a grid, and where their results go."""

    grid: Grid
    writer: store.RunWriter
    ended: dict[str, str]
    folder: Path
    say: Say = print

    def run(self) -> list[str]:
        """Works off what is not done; returns the statuses of all cases."""
        cases = self.grid.cases()
        # what is skipped was throttled
        done = {*store.FINE} - {"skipped"}
        left = [case for case in cases if self.ended.get(case.id) not in done]
        self.say(f"{len(cases)} cases, {len(left)} of them to do")
        for _, some in groupby(left, key=self.apart):
            self.work(list(some))
        return [self.ended[case.id] for case in cases]

    def apart(self, case: Case) -> Any:
        """What a worker has alone: the interpreter in a dry run, else a cell in a format."""
        return self.grid.dry or (case.spec, case.dtype)

    def work(self, cases: list[Case]) -> None:
        """In workers of their own; after a case that breaks one, the rest get a new one."""
        if not self.grid.dry:
            return self.through(cases, timed.time, str(self.profiles()))
        of_triton = [case for case in cases if case.backend == "triton"]
        self.through([case for case in cases if case.backend != "triton"], dry.walk)
        return self.through(of_triton, dry.interpret)

    def through(self, cases: list[Case], function: Callable[..., Any], *more: Any) -> None:
        left = {case.id: case for case in cases}

        def keep(message: tuple[str, Any]) -> None:
            if isinstance(message[1], CaseResult):
                self.end(left.pop(message[0]), message[1])

        while left:
            outcome = worker.call(
                function,
                list(left.values()),
                *more,
                on_message=keep,
                timeout_s=TIMEOUT_S,
                limit_memory=self.grid.dry,
            )
            if left:
                first = left.pop(next(iter(left)))
                broke = outcome.status if outcome.status != "ok" else "failed"
                self.end(first, CaseResult(broke, outcome.reason or "its worker said nothing of it"))

    def end(self, case: Case, result: CaseResult) -> None:
        """Keeps how a case ended."""
        self.ended[case.id] = result.status
        self.writer.append(
            case.id,
            case.definition,
            result.status,
            series=result.series,
            reason=result.reason,
            implementation=result.implementation,
            done=True,
        )
        if result.status in store.ERRORS:
            self.say(f"{case} {case.dtype}: {result.status} ({result.reason})")

    def profiles(self) -> Path:
        """Where kernel names and traces go."""
        folder = self.folder / "profiles"
        store.make(folder)
        return folder


def code_of(statuses: Sequence[str]) -> int:
    """1 if a case ended in an error, else 0."""
    return int(any(status in store.ERRORS for status in statuses))
