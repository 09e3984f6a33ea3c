"""Runs a plan: every case in a worker of its own, then groups of ok cases together in fresh workers; writes as it goes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .case import Case
from .measure import worker
from .probe import Found, Probe, measure_case, measure_together
from .progress import Progress
from .store import RunWriter

ERRORS = ("wrong", "failed", "crashed", "timed_out", "out_of_memory")


@dataclass(frozen=True)
class Asked:
    """A probe as it was asked for: its spec and options find it again in a worker."""

    spec: str
    options: dict[str, Any]
    probe: Probe
    cases: list[Case]


@dataclass
class Runner:
    """Works off what was asked. `statuses` is the outcome of every case so far."""

    writer: RunWriter
    progress: Progress
    case_timeout_s: float
    budget_s: float | None = None
    statuses: dict[str, str] = field(default_factory=dict)
    implementations: dict[str, str | None] = field(default_factory=dict)

    def run(self, asked: list[Asked]) -> int:
        """Exit code: 1 if a case ended in an error, else 0."""
        self.start = time.monotonic()
        for probe in asked:
            for case in probe.cases:
                self.first(probe, case)
            good = [c for c in probe.cases if self.statuses[c.id] == "ok"]
            if probe.probe.repeats:
                for group in probe.probe.groups(good):
                    self.second(probe, group)
        return int(any(status in ERRORS for status in self.statuses.values()))

    def first(self, asked: Asked, case: Case) -> None:
        """Measures one case by itself; where the probe has a second pass, an ok case is not done yet."""
        self.progress.start(str(case), asked.probe.estimate_s(case))
        if self.spent():
            found = Found("skipped", f"budget_s={self.budget_s:g} was used up")
        else:
            found = self.work(case, measure_case, asked.spec, asked.options, case)
        done = found.status != "ok" or not asked.probe.repeats
        self.implementations[case.id] = found.implementation
        self.write(case, found, done)
        self.progress.finish(found.status, found.reason)

    def work(self, case: Case, function: Any, *args: Any) -> Found:
        def keep(message: tuple[str, list[dict[str, Any]]]) -> None:
            self.writer.append(case.id, case.definition, "ok", series=message[1])

        outcome = self.call(case, keep, function, *args)
        return outcome.value if outcome.status == "ok" else Found(outcome.status, outcome.reason)

    def call(self, case: Case, keep: Any, function: Any, *args: Any) -> worker.Outcome:
        return worker.call(
            function, *args, on_message=keep, threads=case.threads, timeout_s=self.case_timeout_s,
            limit_memory=case.device != "cuda",
        )  # fmt: skip

    def second(self, asked: Asked, group: list[Case]) -> None:
        """Measures a group together, in as many processes as the probe wants; then its cases are done."""
        by_id = {case.id: case for case in group}

        def keep(message: tuple[str, list[dict[str, Any]]]) -> None:
            case = by_id[message[0]]
            self.writer.append(case.id, case.definition, "ok", series=message[1], implementation=self.implementations[case.id])

        found = Found("ok")
        for process in range(asked.probe.repeats):
            self.progress.start(f"{asked.probe.name} {group[0].spec} together, process {process + 1} of {asked.probe.repeats}", 0)
            if self.spent():
                found = Found("skipped", f"budget_s={self.budget_s:g} was used up in the second pass")
                break
            outcome = self.call(group[0], keep, measure_together, asked.spec, asked.options, group, process)
            if outcome.status != "ok":
                found = Found(outcome.status, outcome.reason)
                break
        self.progress.finish(found.status, found.reason)
        for case in group:
            self.write(case, found, done=True)

    def write(self, case: Case, found: Found, done: bool) -> None:
        self.statuses[case.id] = found.status
        self.writer.append(
            case.id, case.definition, found.status, series=found.series, reason=found.reason,
            implementation=found.implementation or self.implementations.get(case.id), done=done,
        )  # fmt: skip

    def spent(self) -> bool:
        return self.budget_s is not None and time.monotonic() - self.start > self.budget_s


def estimate_s(asked: list[Asked]) -> float:
    """About how long it all takes, in seconds on two slow cores."""
    return sum(_estimates(asked))


def _estimates(asked: list[Asked]) -> Iterator[float]:
    for a in asked:
        for case in a.cases:
            yield a.probe.estimate_s(case)
