"""Runs the planned probes: each case in a worker, then comparisons of ok cases in fresh workers.

Every message of a worker is written to the run at once.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import takewhile
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

from ..case import Case
from ..measure.ahead import Ahead
from ..measure.conditions import cores
from ..measure.side_by_side import RESTS, Attempt, SideBySide, Work, side_by_side
from ..measure.started import Result
from ..probe import WAITS, Intermediate, measure_cases
from ..probe import CaseResult as Found
from ..store import ERRORS, BlockError, RunWriter
from . import warm
from .beside import Beside
from .groups import Group, PlannedProbe, about, bounded, first_passes, flat, may_fork
from .progress import Progress
from .pruning import Pruning

IMPORTED = (f"{__package__}.imports",)
MOST_TOGETHER = 64  # programs that one process of the second pass times, one comparison after the other
MOST_PROCESSES = 8  # of a first pass at a time: each may take a gigabyte
FEW_TOGETHER = 16  # the same where there is a budget, which is looked at before every process


@dataclass
class Runner:
    """Runs planned probes. `statuses` is the outcome of every case so far.

    `done` are cases of an earlier attempt that are finished and ok. They are not measured again. Since a
    ratio is taken inside a process, they are timed beside a partner that is measured; their own results are
    then dropped. `changed` names the code that is no longer what the run began with: workers import it anew.
    `beside` tells which cases other jobs of a sweep disturbed: those are skipped, with what was measured.
    `pruning` tells which cases of a search are hopeless, and end early.
    """

    writer: RunWriter
    progress: Progress
    case_timeout_s: float
    budget_s: float | None = None
    done: Collection[str] = ()
    changed: Callable[[], Collection[str]] = tuple
    beside: Beside | None = None
    pruning: Pruning | None = None
    statuses: dict[str, str] = field(default_factory=dict)
    implementations: dict[str, str | None] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)  # of cases of the second pass that were disturbed

    def run(self, probes: list[PlannedProbe]) -> int:
        """Exit code: 1 if a case ended in an error, else 0."""
        self.start = time.monotonic()
        last: list[tuple[PlannedProbe, list[Case]]] = []  # groups that wait until nothing is timed any more
        with SideBySide(self.case_timeout_s) as processes:
            for number, planned in enumerate(probes):
                left = [c for c in planned.cases if c.id not in self.done]
                for case in left if planned.probe.repeats else []:
                    self.taken_over(case)
                groups = first_passes(planned.probe, [c for c in left if c.id not in self.statuses])
                if any(p.probe.timed for p in probes[:number]) and self.at_any_time(planned, groups):
                    last += [(planned, cases) for cases in groups]
                    continue
                works = (self.first_pass(planned, cases) for cases in groups)
                # the processes of the second pass import while the server does that the first are forked from
                with self.ahead(planned, [c for c in left if c.device == "cpu"]) as early:
                    processes.do(works, self.at_a_time(planned, groups))
                    self.second_passes(planned, early)
            works = (self.first_pass(planned, cases) for planned, cases in last)
            processes.finish(works, self.abreast(flat([p.cases for p in probes])))
        return int(any(status in ERRORS for status in self.statuses.values()))

    def ahead(self, planned: PlannedProbe, cases: list[Case]) -> Ahead:
        """The processes that the second pass of these cases takes at once: each waits until it is alone."""
        count = min(planned.probe.repeats, MOST_PROCESSES) if cases else 0
        backends = sorted({(c.backend, c.device) for c in cases if c.backend})
        limit = all(c.device != "cuda" for c in cases)
        threads = max((c.threads for c in cases), default=1)
        return Ahead(count, warm.ready, (backends,), threads, limit, self.case_timeout_s)

    def second_passes(self, planned: PlannedProbe, early: Ahead) -> None:
        """Measures what is not done yet of the probe's comparisons, the first ones where `early` waits."""
        if not planned.probe.repeats:
            return
        good = [c for c in planned.cases if c.id in self.done or self.statuses[c.id] == "ok"]
        comparisons = planned.probe.comparisons(good)
        unfinished = [c for c in comparisons if any(case.id not in self.done for case in c)]
        groups = bounded(unfinished, FEW_TOGETHER if self.budget_s else MOST_TOGETHER)
        if groups and early.waits:
            self.second_pass(planned, groups.pop(0), early)
        for group in groups:
            with self.ahead(planned, flat(group)) as ahead:
                self.second_pass(planned, group, ahead)

    def taken_over(self, case: Case) -> None:
        """Writes what an earlier attempt measured in the first pass of a case, where that came to its end."""
        if (begun := self.writer.begun.get(case.id)) is not None:
            self.implementations[case.id] = begun.implementation
            self.write(case, Found("ok", begun.reason, begun.implementation, begun.series), done=False)

    def at_a_time(self, planned: PlannedProbe, groups: list[list[Case]]) -> int:
        """How many processes of the first pass run side by side: one where something is timed.

        Else as many as there are cores. A budget is looked at before every case, and a GPU is one.
        """
        cases = flat(groups)
        if planned.probe.timed or self.budget_s or any(case.device != "cpu" for case in cases):
            return 1
        return self.abreast(cases)

    def at_any_time(self, planned: PlannedProbe, groups: list[list[Case]]) -> bool:
        """Whether the cases of a probe may wait for the end, when nothing is timed and all cores are free."""
        return not planned.probe.repeats and self.at_a_time(planned, groups) > 1

    def abreast(self, cases: list[Case]) -> int:
        """How many processes of these cases have cores of their own."""
        return max(1, min(MOST_PROCESSES, cores() // max((case.threads for case in cases), default=1)))

    def first_pass(self, planned: PlannedProbe, cases: list[Case]) -> Work:
        """Measures cases in a worker of their own; after one that breaks it, the rest get a new one."""
        while cases:
            self.progress.start(str(cases[0]), planned.probe.estimate_s(cases[0]))
            if stop := self.edited() or self.spent():
                self.end(planned, cases.pop(0), stop, cases)
                continue

            def keep(
                message: tuple[str, Found | Intermediate | float | str | list[dict[str, Any]]],
            ) -> Result | None:
                content = message[1]
                if content == WAITS:
                    return Result(RESTS)
                if isinstance(content, Found):
                    ended = self.edited() or self.judged(planned, cases[0], content)
                    self.end(planned, cases.pop(0), ended, cases)
                elif isinstance(content, float):
                    self.progress.advance(content)
                elif isinstance(content, Intermediate) and self.pruning and answers:
                    answers.send(self.pruning.reason(cases[0].id, content))
                elif isinstance(content, list) and not self.edited():
                    self.writer.append(cases[0].id, cases[0].definition, "ok", series=content)
                return None

            together = cases[:1] if self.budget_s else list(cases)  # a budget is looked at before every case
            options = planned.options | planned.probe.kept_in(str(self.writer.kept))
            args = (planned.spec, options, together)
            self.begin()
            resting = self.resting(planned, together)
            with resting as (go, told), self.answering(planned) as (answers, pruned):
                attempt = self.attempt(cases[0], keep, measure_cases, *args, told, pruned, imported=IMPORTED)
                outcome = yield replace(attempt, go=go)
            if outcome.status != "ok" and cases:
                ended = self.edited() or Found(outcome.status, outcome.reason)
                self.end(planned, cases.pop(0), ended, cases)

    @contextmanager
    def resting(
        self, planned: PlannedProbe, cases: list[Case]
    ) -> Iterator[tuple[Connection | None, Connection | None]]:
        """The ends of a pipe by which a process is told to go on with what of its case measures no time.

        None where it does so at once: another case follows in it, a budget is looked at, or nothing is timed.
        """
        if not planned.probe.timed or len(cases) > 1 or self.budget_s or cases[0].device != "cpu":
            yield None, None
            return
        with _pipe() as ends:
            yield ends

    @contextmanager
    def answering(self, planned: PlannedProbe) -> Iterator[tuple[Connection | None, Connection | None]]:
        """The ends of a pipe by which a process is told whether its case goes on; None where all do."""
        if self.pruning is None or not planned.probe.intermediate:
            yield None, None
            return
        with _pipe() as ends:
            yield ends

    def end(self, planned: PlannedProbe, case: Case, result: Found, remaining: list[Case]) -> None:
        """Writes how a case ended; where the probe has a second pass, an ok case is not done yet."""
        if self.pruning is not None:
            self.pruning.ended(case.id, result.status)
        self.implementations[case.id] = result.implementation
        self.write(case, result, done=result.status != "ok" or not planned.probe.repeats)
        if result.status != "ok":
            self.progress.spare(planned.probe.repeats * planned.probe.estimate_repeat_s(case))
        self.progress.finish(result.status, result.reason, str(case))
        if remaining:
            self.progress.start(str(remaining[0]), planned.probe.estimate_s(remaining[0]))

    def begin(self) -> None:
        """A process begins, which may time something."""
        if self.beside is not None:
            self.beside.begin()

    def judged(self, planned: PlannedProbe, case: Case, result: Found) -> Found:
        """How a case of the first pass ends; one that is timed in the second is judged there."""
        if planned.probe.repeats or result.status != "ok":
            return result
        reason = self.disturbed(planned, case.id, case)
        return replace(result, status="skipped", reason=reason) if reason else result

    def disturbed(self, planned: PlannedProbe, what: Hashable, case: Case) -> str | None:
        """Why a case was disturbed that was timed while `what` was in hand, or None."""
        if self.beside is None or not (planned.probe.timed and planned.probe.times_alone):
            return None
        return self.beside.over(what, case.id, case.threads)

    def attempt(
        self,
        case: Case,
        keep: Callable[[Any], Result | None],
        function: Callable[..., Any],
        *args: Any,
        imported: tuple[str, ...] = (),
    ) -> Attempt:
        """The function in a worker with the threads of the case."""

        def kept(message: Any) -> Result | None:
            try:
                return keep(message)
            except BlockError as error:  # a message of the probe that cannot be kept
                return Result("failed", str(error))

        limit = case.device != "cuda"  # CUDA maps far more address space than it uses
        return Attempt(function, args, kept, case.threads, limit, imported if may_fork(case) else ())

    def call(self, attempt: Attempt) -> Result:
        """How a single attempt ended."""
        results: list[Result] = []

        def work() -> Work:
            results.append((yield attempt))

        side_by_side([work()], 1, self.case_timeout_s)
        return results[0]

    def second_pass(self, planned: PlannedProbe, group: Group, ahead: Ahead) -> None:
        """Measures comparisons together, in as many processes as the probe wants; this ends their cases."""
        left = {process: self.not_known(group, process) for process in range(planned.probe.repeats)}
        for process, wanted in left.items():
            ids = {case.id for case in flat(wanted)}
            if some := [one for one in group if any(case.id in ids for case in one)]:
                self.progress.start(*about(planned, some, process))
                # what was timed before leaves its mark on memory: that is to differ between processes
                random.Random(process).shuffle(some)
                good = self.repeat(planned, some, process, ahead)
                self.progress.finish("ok" if good else "failed", None)
                good = self.calm(good)
                bad = {case.id for case in flat(some)} - {case.id for case in flat(good)}
                gone = [case for case in flat(some) if case.id in bad]
                still = planned.probe.repeats - 1 - process
                self.progress.spare(still * sum(map(planned.probe.estimate_repeat_s, gone)))
                remaining = [[case for case in one if case.id not in bad] for one in group]
                group = [one for one in remaining if one]
        for case in flat(group):
            self.write(case, Found("ok"), done=True)

    def calm(self, group: Group) -> Group:
        """Comparisons without the cases that were disturbed, which end here."""
        for case in flat(group):
            if reason := self.reasons.get(case.id):
                self.write(case, Found("skipped", reason), done=True)
                self.progress.finish(f"{case}: skipped", reason)
        left = [[case for case in one if case.id not in self.reasons] for one in group]
        return [one for one in left if one]

    def not_known(self, group: Group, process: int) -> Group:
        """The comparisons that a process has to measure; what an earlier attempt has of others is written."""

        def earlier(case: Case) -> list[dict[str, Any]] | None:
            if case.id in self.done:
                return []
            begun = self.writer.begun.get(case.id)
            return begun.repeated.get(process) if begun else None

        left = [one for one in group if any(earlier(case) is None for case in one)]
        for case in flat([one for one in group if one not in left]):
            self.write(case, Found("ok", series=earlier(case) or []), done=False)
        return left

    def repeat(
        self,
        planned: PlannedProbe,
        group: Group,
        process: int,
        ahead: Ahead | None = None,
        again: bool = False,
    ) -> Group:
        """One process of the second pass, which waits already or is new; returns the good comparisons.

        After a failure the comparison in hand runs alone, and those after it go on together.
        """
        if stop := self.edited() or self.spent():
            return self.give_up(group, stop)
        measured: set[str] = set()
        keep = self.keeper(planned, group, measured)
        args = (planned.spec, planned.options, group, process)
        attempt = self.attempt(group[0][0], keep, warm.measure_together, *args)
        self.begin()
        outcome = self.call(replace(attempt, ahead=ahead))
        if edited := self.edited():
            return self.give_up(group, edited)
        if outcome.status == "ok":
            return group
        if len(flat(group)) == 1:
            return self.give_up(group, Found(outcome.status, outcome.reason))
        if outcome.status == "crashed" and len(group) == 1 and not (measured or again):
            # perhaps it was ended from outside; alone, its cases would have no ratio to each other
            return self.repeat(planned, group, process, again=True)
        if len(group) == 1:
            # alone, each case shows whether it was the one; those that were not go on together
            good = [c for c in group[0] if c.id in measured or self.repeat(planned, [[c]], process)]
            return [good] if good else []
        complete = list(takewhile(lambda comparison: all(c.id in measured for c in comparison), group))
        n = len(complete)
        for rest in filter(None, (group[n : n + 1], group[n + 1 :])):
            complete += self.repeat(planned, rest, process)
        return complete

    def keeper(
        self, planned: PlannedProbe, group: Group, measured: set[str]
    ) -> Callable[[tuple[str, list[dict[str, Any]]]], None]:
        """Writes the series that a worker emits for a group, and adds the ids of its cases to `measured`."""
        by_id = {case.id: case for case in flat(group)}
        # the cases of a comparison are timed in turns
        comparisons = {case.id: one[0].id for one in group for case in one}

        def keep(message: tuple[str, list[dict[str, Any]]]) -> None:
            if not message[1]:
                return  # a sign of life
            case = by_id.get(message[0])
            if case is None or self.edited():  # another file may make another case of it
                return
            if case.id not in self.done:
                if reason := self.disturbed(planned, comparisons[case.id], case):
                    self.reasons[case.id] = reason
                self.writer.append(
                    case.id,
                    case.definition,
                    "skipped" if reason else "ok",
                    reason=reason,
                    series=message[1],
                    implementation=self.implementations[case.id],
                )
            measured.add(case.id)

        return keep

    def give_up(self, group: Group, result: Found) -> Group:
        """Ends all cases of the group with this result; returns no comparison."""
        for case in flat(group):
            if case.id not in self.done:
                self.write(case, result, done=True)
                self.progress.finish(f"{case}: {result.status}", result.reason)
        return []

    def write(self, case: Case, result: Found, done: bool) -> None:
        """Writes a result of a case, unless an earlier attempt has finished it."""
        if case.id in self.done:
            return
        self.statuses[case.id] = result.status
        self.writer.append(
            case.id,
            case.definition,
            result.status,
            series=result.series,
            reason=result.reason,
            implementation=result.implementation or self.implementations.get(case.id),
            done=done,
        )

    def spent(self) -> Found | None:
        """How a case ends where the run's time is used up."""
        if self.budget_s is None or time.monotonic() - self.start <= self.budget_s:
            return None
        return Found("skipped", f"budget_s={self.budget_s:g} was used up")

    def edited(self) -> Found | None:
        """How a case ends where its code is not what the run began with."""
        if not (names := self.changed()):
            return None
        how = "put it back and go on with the run, or start a new one"
        return Found("failed", f"{', '.join(names)} changed after the run began; {how}")


@contextmanager
def _pipe() -> Iterator[tuple[Connection, Connection]]:
    """(the end that sends, the end that receives), both closed at the end."""
    receiving, sending = Pipe(duplex=False)
    with receiving, sending:
        yield sending, receiving
