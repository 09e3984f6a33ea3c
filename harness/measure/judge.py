"""Judges a suite of pairs: fresh processes, more where they cannot tell, and a repetition of each change."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..screen import counted
from . import worker
from .bootstrap import Interval
from .conditions import Warned, warnings_of
from .pair import Effort, Pair, Timing, Trouble, time_pairs
from .verdict import CHANGED, Verdict, clear, confirms, decide, holm, p_value

ALPHA = 0.05  # of any false alarm in a suite, by Holm
MOST_TOGETHER = 32  # pairs that one process times, one after the other
ENOUGH = 3  # processes of a look whose effect is clear
FIRST, MORE, AGAIN = "first", "more", "repeated"
STAGES = {FIRST: "first look", MORE: "undecided, once more", AGAIN: "changes repeated"}
Keep = Callable[[str, str, int, Timing | Trouble], None]
Call = Callable[..., worker.Result]
Decision = tuple[Verdict, str, Interval | None]  # verdict, why, the interval of the effect


@dataclass(frozen=True)
class Judgement:
    """The verdict on a pair, and how many processes of the first look and of its repetition it rests on."""

    name: str
    verdict: Verdict
    reason: str
    effect: Interval | None = None
    processes: int = 0
    repeated: int = 0
    p: float = 1.0
    status: str = "ok"
    timed_s: float = 0.0
    warnings: tuple[Warned, ...] = ()
    first: Verdict | None = None  # of the first look alone

    def __str__(self) -> str:
        counts = f"{self.processes}+{self.repeated}" if self.repeated else str(self.processes)
        return f"{self.name}  {self.effect or '-'}  {counts} processes  {self.verdict}  {self.reason}"


@dataclass
class PairTimings:
    """The timings of one pair so far, and the decision by its first look."""

    pair: Pair
    first: list[Timing] = field(default_factory=list)
    again: list[Timing] = field(default_factory=list)
    trouble: Trouble | None = None
    decision: Decision = (Verdict.INVALID, "nothing was measured", None)

    @property
    def timings(self) -> list[Timing]:
        return self.first + self.again

    def of(self, stage: str) -> list[Timing]:
        """The timings of the look that a stage belongs to."""
        return self.again if stage == AGAIN else self.first

    def spoilt(self) -> str | None:
        """The reason why the pair has no verdict, whatever was timed; None where it may have one."""
        if self.trouble:
            return f"{self.trouble.status}: {self.trouble.reason}"
        if len({t.conditions.cores for t in self.timings}) > 1:
            return "the cores that may be used changed while it was measured"
        return None

    def sure(self, stage: str) -> bool:
        """Whether the effect is so clear by now that more processes of a look cannot change the answer."""
        timings = self.timings if stage == AGAIN else self.first
        return len(self.of(stage)) >= ENOUGH and clear(
            [t.logs() for t in timings], [t.logs("again") for t in timings]
        )

    def judge(self, rng: np.random.Generator, last: bool = True) -> Decision:
        """The judgement of the first look."""
        if spoilt := self.spoilt():
            return Verdict.INVALID, spoilt, None
        return decided(self.first, rng, last)

    def repeated(self, rng: np.random.Generator) -> Decision:
        """The judgement of both looks on a change: each must show it by itself."""
        verdict, reason, _ = self.decision
        pooled, _, effect = decided(self.timings, rng)
        if confirms([t.logs() for t in self.again], verdict, rng) and pooled is verdict:
            return verdict, "confirmed by a repetition", effect
        verdict = Verdict.SAME if pooled is Verdict.SAME else Verdict.UNSURE
        return verdict, f"first {reason}; a repetition did not confirm it", effect


@dataclass
class Judge:
    """Runs processes for pairs and judges them.

    Every timing is handed to keep(name, stage, process, timing) at once, so that nothing measured is lost.
    `process` counts from 0 over the first look and what doubles it, and anew in the repetition. `call` runs a
    function in a process. `known` has by pair, stage and process what an interrupted judge had timed: it is
    taken over, and handed to keep too.
    """

    rng: np.random.Generator
    effort: Effort = field(default_factory=Effort)
    processes: int = 5
    most: int = 10  # processes of a first look
    budget_s: float = 15.0  # timed work of one pair
    threads: int = 1
    timeout_s: float = 300.0
    keep: Keep = lambda name, stage, process, timing: None
    call: Call = worker.call
    say: Callable[[str], None] = lambda text: None
    known: Mapping[str, Mapping[tuple[str, int], Timing]] = field(default_factory=dict)

    def judge(self, pairs: Sequence[Pair]) -> list[Judgement]:
        """One judgement for each pair, in their order; a change must hold over the whole suite.

        Raises ValueError for two of one name, or none.
        """
        return corrected(self.each(pairs))

    def each(self, pairs: Sequence[Pair]) -> list[Judgement]:
        """The same, of each pair by itself."""
        names = [p.name for p in pairs]
        if not names or len(set(names)) < len(names):
            raise ValueError("a suite needs at least one pair, and no two of one name")
        suite = [PairTimings(p) for p in pairs]
        self.look(suite, FIRST)
        while unsure := [one for one in suite if self.undecided(one)]:
            self.look(unsure, MORE)
        for one in suite:
            one.decision = one.judge(self.rng)
        changed = [one for one in suite if one.decision[0] in CHANGED]
        while changed:
            self.look(changed, AGAIN)
            changed = [one for one in changed if self.unconfirmed(one)]
        return [self.judgement(one) for one in suite]

    def undecided(self, one: PairTimings) -> bool:
        """Whether more processes are wanted, and twice as many fit the budget."""
        if (
            one.trouble
            or not one.first
            or one.judge(self.rng, last=False)[0] not in (Verdict.UNSURE, Verdict.INVALID)
        ):
            return False
        return self.affordable(one.first)

    def unconfirmed(self, one: PairTimings) -> bool:
        """Whether a repetition leaves the change open, so that more of it is wanted, and fits the budget.

        One process that was disturbed is enough for that. All of them, old and new, must still agree.
        """
        if one.spoilt() or one.sure(AGAIN) or one.repeated(self.rng)[0] is not Verdict.UNSURE:
            return False
        alone = decided(one.again, self.rng, last=False)[0]
        return alone in (Verdict.UNSURE, Verdict.INVALID, one.decision[0]) and self.affordable(one.again)

    def affordable(self, timings: Sequence[Timing]) -> bool:
        """Whether twice as many processes of a look are allowed and fit the budget."""
        twice = 2 * sum(t.timed_s for t in timings)
        return 2 * len(timings) <= self.most and twice <= self.budget_s

    def look(self, some: Sequence[PairTimings], stage: str) -> None:
        """Times some pairs in fresh processes: as many as this look had, or the number of a first one.

        A pair whose answer is sure needs no more.
        """
        counts = {one.pair.name: len(one.of(stage)) or self.processes for one in some}
        most = max(counts.values(), default=0)
        for process in range(most):
            wanted = [
                one
                for one in some
                if process < counts[one.pair.name] and not one.trouble and not one.sure(stage)
            ]
            if not wanted:
                return
            self.say(f"{STAGES[stage]}, process {process + 1} of {most}: {counted(len(wanted), 'benchmark')}")
            for group in grouped(wanted):
                self.one_process(group, stage)

    def one_process(self, group: Sequence[PairTimings], stage: str) -> None:
        """One worker for some pairs; those that it did not reach when it broke go on alone."""
        waiting = {one.pair.name: one for one in group}

        def message(content: tuple[str, Timing | Trouble] | None) -> None:
            if content is None:
                return
            name, timing = content
            one = waiting.pop(name)
            timings = one.of(stage)
            self.keep(name, stage, len(timings), timing)
            if isinstance(timing, Trouble):
                one.trouble = timing
            else:
                timings.append(timing)

        seed = self.rng.integers(0, 2**32, 4).tolist()
        for one in group:
            timings = one.of(stage)
            if (timing := self.known.get(one.pair.name, {}).get((stage, len(timings)))) is not None:
                message((one.pair.name, timing))
        if not waiting:
            return
        result = self.call(
            time_pairs,
            [one.pair for one in waiting.values()],
            seed,
            self.effort,
            on_message=message,
            threads=self.threads,
            timeout_s=self.timeout_s,
            limit_memory=all(one.pair.device != "cuda" for one in group),
        )
        if len(group) == 1 and waiting:
            reason = result.reason or "the process ended without a word"
            message((group[0].pair.name, Trouble(result.status, reason)))
        elif waiting:
            for one in list(waiting.values()):
                self.one_process([one], stage)

    def judgement(self, one: PairTimings) -> Judgement:
        """The first look's verdict, and for a change both looks together: each must show it by itself."""
        verdict, reason, effect = one.decision
        if spoilt := one.spoilt():
            verdict, reason, effect = Verdict.INVALID, spoilt, None
        elif verdict in CHANGED:
            verdict, reason, effect = one.repeated(self.rng)
        conditions = [t.conditions for t in one.timings]
        return Judgement(
            one.pair.name,
            verdict,
            reason,
            effect,
            len(one.first),
            len(one.again),
            p_value([t.logs() for t in one.timings]),
            one.trouble.status if one.trouble else "ok",
            sum(t.timed_s for t in one.timings),
            warnings_of(conditions, self.threads, levels(one.timings)),
            one.decision[0],
        )


def decided(timings: Sequence[Timing], rng: np.random.Generator, last: bool = True) -> Decision:
    """The decision by the ratios of some processes, with A's second instance as their control."""
    return decide([t.logs() for t in timings], [t.logs("again") for t in timings], rng, last)


def levels(timings: Sequence[Timing]) -> list[float]:
    """The median seconds of A in each process: an anchor of the machine's own speed."""
    return [float(np.median([v for build in t.samples["a"] for v in build])) for t in timings]


def corrected(judgements: list[Judgement]) -> list[Judgement]:
    """Takes back a change whose p, adjusted for the number of pairs judged, is above ALPHA."""
    judged = [j for j in judgements if j.effect]
    adjusted = dict(zip([j.name for j in judged], holm([j.p for j in judged]), strict=True))
    return [
        (
            replace(
                j,
                verdict=Verdict.UNSURE,
                reason=f"{j.reason}, but p is {adjusted[j.name]:.2g} over the suite",
            )
            if j.verdict in CHANGED and adjusted[j.name] > ALPHA
            else j
        )
        for j in judgements
    ]


def grouped(some: Sequence[PairTimings]) -> Iterator[list[PairTimings]]:
    """In groups of at most MOST_TOGETHER."""
    for start in range(0, len(some), MOST_TOGETHER):
        yield list(some[start : start + MOST_TOGETHER])
