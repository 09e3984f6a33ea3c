"""Works the cases off in workers, and keeps how each ended at once: the same command goes on."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from ... import store
from ...case import Case
from ...measure.conditions import cores
from ...measure.side_by_side import Attempt, Work, side_by_side
from ...measure.started import Result
from ...probe import CaseResult
from ...runs.groups import flat
from ...runs.resume import same, same_commit
from ...runs.values import ConfigError
from ...store import provenance
from . import dry, timed
from .grid import Grid, comparisons

COMMAND = "python -m cellbench.harness.studies.gpu"
TIMEOUT_S = 300.0  # of silence
WORKER_BYTES = 5 << 30  # of a process with PyTorch, CUDA and a compiler
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
        if self.grid.dry:
            self.walk(left)
        else:
            self.measure(left)
        return [self.ended[case.id] for case in cases]

    def walk(self, cases: list[Case]) -> None:
        """In workers of their own; the interpreter's kernels in another, as it is chosen for good."""
        of_triton = [case for case in cases if case.backend == "triton"]
        others = [case for case in cases if case.backend != "triton"]
        for some, function in ((others, dry.walk), (of_triton, dry.interpret)):
            side_by_side([self.work(some, function)], 1, TIMEOUT_S)

    def measure(self, cases: list[Case]) -> None:
        """Checks all side by side, which has the kernels compiled; then times those that are right."""
        ready: dict[str, timed.Ready] = {}
        shares, folder = shared_out(cases, workers()), str(self.profiles())
        works = [self.work(share, timed.hold, folder, ready=ready) for share in shares]
        side_by_side(works, len(works), TIMEOUT_S)
        right = [case for case in cases if case.id in ready]
        self.say(f"{len(right)} of {len(cases)} are right and will be timed")
        side_by_side([self.timing(comparisons(right), ready)], 1, TIMEOUT_S)

    def work(
        self,
        cases: Sequence[Case],
        function: Callable[..., Any],
        *more: Any,
        ready: dict[str, timed.Ready] | None = None,
    ) -> Work:
        """In a worker; after a case that breaks it, the rest get a new one."""
        left = {case.id: case for case in cases}

        def keep(message: tuple[str, Any]) -> None:
            name, said = message
            if isinstance(said, CaseResult):
                self.end(left.pop(name), said)
            elif ready is not None:
                del left[name]
                ready[name] = said

        while left:
            given = list(left.values()), *more
            outcome = yield Attempt(function, given, keep, limit_memory=self.grid.dry)
            if left:
                self.end(left.pop(next(iter(left))), broken(outcome))

    def timing(self, groups: list[list[Case]], ready: dict[str, timed.Ready]) -> Work:
        """Times comparisons in a worker. Where one breaks it, its cases are tried alone; the rest go on."""
        while groups:
            left = {case.id: case for case in flat(groups)}

            def keep(message: tuple[str, Any], left: dict[str, Case] = left) -> None:
                if isinstance(message[1], CaseResult):
                    self.end(left.pop(message[0]), message[1])

            outcome = yield Attempt(timed.time, (groups, ready), keep, limit_memory=False)
            groups = [some for group in groups if (some := [case for case in group if case.id in left])]
            if groups:
                again = yield from self.alone(groups.pop(0), ready, outcome)
                groups = [*again, *groups]

    def alone(
        self, cases: list[Case], ready: dict[str, timed.Ready], outcome: Result
    ) -> Generator[Attempt, Result, list[list[Case]]]:
        """Ends those of a broken comparison that break a worker alone too. Returns the others as one.

        Where none does, such as for lack of memory for all together, the times of each alone count.
        """
        results: dict[str, CaseResult] = {}

        def keep(message: tuple[str, Any]) -> None:
            if isinstance(message[1], CaseResult):
                results[message[0]] = message[1]

        for case in cases:
            if len(cases) > 1:
                outcome = yield Attempt(timed.time, ([[case]], ready), keep, limit_memory=False)
            if case.id not in results:
                self.end(case, replace(broken(outcome), series=ready[case.id].series))
        good = [case for case in cases if case.id in results]
        if 1 < len(good) < len(cases):
            return [good]
        for case in good:
            self.end(case, results[case.id])
        return []

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


def workers() -> int:
    """How many processes have a core and memory of their own, one at least."""
    return max(1, min(cores(), psutil.virtual_memory().available // WORKER_BYTES))


def shared_out(cases: Sequence[Case], count: int) -> list[list[Case]]:
    """So many shares, each with as many cases of each backend; those that are empty left out."""
    by_backend = sorted(cases, key=lambda case: case.backend)
    return [share for k in range(count) if (share := by_backend[k::count])]


def broken(outcome: Result) -> CaseResult:
    """How a case ends whose worker ended without a result of it."""
    status = outcome.status if outcome.status != "ok" else "failed"
    return CaseResult(status, outcome.reason or "its worker said nothing of it")


def code_of(statuses: Sequence[str]) -> int:
    """1 if a case ended in an error, else 0."""
    return int(any(status in store.ERRORS for status in statuses))
