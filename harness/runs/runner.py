"""Runs a plan: cases in workers of their own, then comparisons of ok cases in fresh workers; writes as it
goes.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any

from ..case import Case
from ..measure import worker
from ..probe import Found, Probe, measure_cases, measure_together
from ..store import BlockError, RunWriter
from .progress import Progress

Group = list[list[Case]]
MOST_TOGETHER = 16  # programs that one process of the second pass holds, one comparison after the other
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
    """Works off what was asked. `statuses` is the outcome of every case so far.

    `done` are cases of an earlier attempt that are finished and ok. They are not measured again, but timed beside a partner
    that is, since a ratio is taken inside a process; what is found of them then is not kept.
    """

    writer: RunWriter
    progress: Progress
    case_timeout_s: float
    budget_s: float | None = None
    done: Collection[str] = ()
    statuses: dict[str, str] = field(default_factory=dict)
    implementations: dict[str, str | None] = field(default_factory=dict)

    def run(self, asked: list[Asked]) -> int:
        """Exit code: 1 if a case ended in an error, else 0."""
        self.start = time.monotonic()
        for probe in asked:
            for alike in like([c for c in probe.cases if c.id not in self.done]):
                self.first(probe, alike)
            if probe.probe.repeats:
                good = [c for c in probe.cases if c.id in self.done or self.statuses[c.id] == "ok"]
                open_ = [
                    c for c in probe.probe.comparisons(good) if any(case.id not in self.done for case in c)
                ]
                for group in bounded(open_, MOST_TOGETHER):
                    self.second(probe, group)
        return int(any(status in ERRORS for status in self.statuses.values()))

    def first(self, asked: Asked, cases: list[Case]) -> None:
        """Measures cases in a worker of their own; after one that breaks it, the rest get a new one."""
        while cases:
            self.progress.start(str(cases[0]), asked.probe.estimate_s(cases[0]))
            if self.spent():
                self.ended(
                    asked, cases.pop(0), Found("skipped", f"budget_s={self.budget_s:g} was used up"), cases
                )
                continue

            def keep(message: tuple[str, Found | float | list[dict[str, Any]]]) -> None:
                content = message[1]
                if isinstance(content, Found):
                    self.ended(asked, cases.pop(0), content, cases)
                elif isinstance(content, float):
                    self.progress.advance(content)
                else:
                    self.writer.append(cases[0].id, cases[0].definition, "ok", series=content)

            some = cases[:1] if self.budget_s else list(cases)  # a budget is looked at before every case
            outcome = self.call(cases[0], keep, measure_cases, asked.spec, asked.options, some)
            if outcome.status != "ok" and cases:
                self.ended(asked, cases.pop(0), Found(outcome.status, outcome.reason), cases)

    def ended(self, asked: Asked, case: Case, found: Found, left: list[Case]) -> None:
        """Writes how a case ended; where the probe has a second pass, an ok case is not done yet."""
        self.implementations[case.id] = found.implementation
        self.write(case, found, done=found.status != "ok" or not asked.probe.repeats)
        self.progress.finish(found.status, found.reason)
        if left:
            self.progress.start(str(left[0]), asked.probe.estimate_s(left[0]))

    def call(self, case: Case, keep: Any, function: Any, *args: Any) -> worker.Result:
        try:
            return worker.call(
                function,
                *args,
                on_message=keep,
                threads=case.threads,
                timeout_s=self.case_timeout_s,
                limit_memory=case.device != "cuda",
            )
        except BlockError as error:  # what a probe handed over cannot be kept
            return worker.Result("failed", str(error))

    def second(self, asked: Asked, group: Group) -> None:
        """Measures comparisons together, in as many processes as the probe wants; then their cases are done."""
        for process in range(asked.probe.repeats):
            if group:
                label = f"{asked.probe.name} {group[0][0].spec}, {len(group)} comparisons"
                label += f", process {process + 1} of {asked.probe.repeats}"
                self.progress.start(label, sum(asked.probe.estimate_repeat_s(c) for c in flat(group)))
                group = self.repeat(asked, group, process)
                self.progress.finish("ok" if group else "failed", None)
        for case in flat(group):
            self.write(case, Found("ok"), done=True)

    def repeat(self, asked: Asked, group: Group, process: int) -> Group:
        """One process of the second pass; returns the comparisons that are good. After a failure each one
        left runs alone.
        """
        if self.spent():
            return self.give_up(
                group, Found("skipped", f"budget_s={self.budget_s:g} was used up in the second pass")
            )
        by_id, seen = {case.id: case for case in flat(group)}, set()

        def keep(message: tuple[str, list[dict[str, Any]]]) -> None:
            if not message[1]:
                return  # a sign of life
            case = by_id[message[0]]
            if case.id not in self.done:
                self.writer.append(
                    case.id,
                    case.definition,
                    "ok",
                    series=message[1],
                    implementation=self.implementations[case.id],
                )
            seen.add(case.id)

        outcome = self.call(group[0][0], keep, measure_together, asked.spec, asked.options, group, process)
        if outcome.status == "ok":
            return group
        if len(by_id) == 1:
            return self.give_up(group, Found(outcome.status, outcome.reason))
        if (
            len(group) == 1
        ):  # alone, each case shows whether it was the one; those that were not go on together
            good = [case for case in group[0] if case.id in seen or self.repeat(asked, [[case]], process)]
            return [good] if good else []
        whole = [comparison for comparison in group if all(case.id in seen for case in comparison)]
        return whole + [c for one in group if one not in whole for c in self.repeat(asked, [one], process)]

    def give_up(self, group: Group, found: Found) -> Group:
        for case in flat(group):
            if case.id not in self.done:
                self.write(case, found, done=True)
                self.progress.finish(f"{case}: {found.status}", found.reason)
        return []

    def write(self, case: Case, found: Found, done: bool) -> None:
        if case.id in self.done:
            return
        self.statuses[case.id] = found.status
        self.writer.append(
            case.id,
            case.definition,
            found.status,
            series=found.series,
            reason=found.reason,
            implementation=found.implementation or self.implementations.get(case.id),
            done=done,
        )

    def spent(self) -> bool:
        return self.budget_s is not None and time.monotonic() - self.start > self.budget_s


def like(cases: list[Case]) -> list[list[Case]]:
    """Cases that differ in seed and variant only, together, in order of appearance."""
    groups: dict[Case, list[Case]] = {}
    for case in cases:
        groups.setdefault(replace(case, seed=None, variant=None), []).append(case)
    return list(groups.values())


def bounded(comparisons: Group, most: int) -> list[Group]:
    """Comparisons of one cell in a row, in groups of at most `most` cases (or one comparison)."""
    groups: list[Group] = []
    for comparison in comparisons:
        last = groups[-1] if groups else None
        if last and last[0][0].spec == comparison[0].spec and len(flat(last)) + len(comparison) <= most:
            last.append(comparison)
        else:
            groups.append([comparison])
    return groups


def flat(group: Group) -> list[Case]:
    return [case for comparison in group for case in comparison]


def estimate_s(asked: list[Asked]) -> float:
    """About how long it all takes, in seconds on two slow cores."""
    return sum(
        a.probe.estimate_s(c) + a.probe.repeats * a.probe.estimate_repeat_s(c) for a in asked for c in a.cases
    )
