"""Two sides timed against each other in one process, and a third arm that is the first side once more.

Between two identical programs of one process there is a bias of where their arrays lie: a standard deviation
of 1.3 % was measured from build to build, whatever the number of samples. So all three arms are built anew
several times, each time in another order and with some bytes allocated before, and a process's ratio is the
median over its builds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cellbench.cells.foreign import guarded

from . import conditions, worker
from .clocks import Clock, clock_of
from .timing import WALL, Timed, collector_off, loops_for, rounds, warm_up

Build = Callable[[], Timed]
ARMS = ("a", "b", "again")
APART = 10.0  # times in which one arm may be slower than another, and still be timed by its loops


@dataclass(frozen=True)
class Pair:
    """Two sides to compare: make(*args) is called in a worker and returns how A and B are built.

    `make` and `args` must be picklable. A side that is wrong raises there, before anything is timed; an
    exception with a `status` and a `reason` keeps them. The device, cpu or cuda, says which clock it is timed
    by.
    """

    name: str
    make: Callable[..., tuple[Build, Build]]
    args: tuple[Any, ...] = ()
    device: str = "cpu"


@dataclass(frozen=True)
class Effort:
    """The work of one process for a pair: builds of all three arms, and about the seconds timed in all.

    Long runs are given up to most_s, for as many rounds as `rounds`.
    """

    builds: int = 10
    seconds: float = 0.4
    most_s: float = 1.0
    rounds: int = 25
    sample_s: float = 0.001
    fewest_builds: int = 3
    fewest_rounds: int = 3

    def loops(self, run_s: Sequence[float]) -> tuple[int, float]:
        """(runs that make a sample, all arms alike; seconds to plan with), of each arm's seconds of a run.

        A sample of the fastest arm takes sample_s. But one of the slowest takes at most APART times as long:
        beside a run that is a thousand times as fast, it would take minutes.
        """
        fastest, slowest = min(run_s), max(run_s)
        loops = loops_for(fastest, self.sample_s)
        if slowest <= APART * fastest:
            return loops, float(np.median(run_s))
        loops = min(loops, loops_for(slowest, APART * self.sample_s))
        return loops, loops * float(np.mean(run_s))

    def plan(self, run_s: float) -> tuple[int, int]:
        """(builds, rounds of each) for runs of so many seconds."""
        round_s = len(ARMS) * max(run_s, self.sample_s)
        seconds = max(self.seconds, min(self.most_s, self.rounds * round_s))
        builds = int(np.clip(seconds / (round_s * self.fewest_rounds), self.fewest_builds, self.builds))
        return builds, max(self.fewest_rounds, round(seconds / (builds * round_s)))


@dataclass(frozen=True)
class Timing:
    """Seconds of one run in one process, arm -> builds -> samples, each of so many loops; and conditions."""

    samples: dict[str, list[list[float]]]
    conditions: conditions.Conditions
    loops: int = 1

    def logs(self, arm: str = "b", against: str = "a") -> list[float]:
        """The log ratio of two arms, one for each build: the median over its rounds.

        It is no number where a time was 0 or none.
        """
        builds = zip(self.samples[arm], self.samples[against], strict=True)
        with np.errstate(divide="ignore", invalid="ignore"):
            return [float(np.median(np.log(one) - np.log(other))) for one, other in builds]

    @property
    def timed_s(self) -> float:
        """Seconds of all that was timed."""
        return self.loops * sum(sum(map(sum, builds)) for builds in self.samples.values())


@dataclass(frozen=True)
class Trouble:
    """The reason why a pair could not be timed, with a status as of a case."""

    status: str
    reason: str


def time_pair(
    pair: Pair,
    rng: np.random.Generator,
    effort: Effort,
    clock: Clock = WALL,
    alive: Callable[[], object] = lambda: None,
) -> Timing:
    """Runs in the worker: the timing of one pair."""
    before = conditions.observe()
    build_a, build_b = pair.make(*pair.args)
    build = {"a": build_a, "b": build_b, "again": build_a}
    with collector_off():
        loops, samples = timed_builds(build, rng, effort, clock, alive)
    return Timing(samples, before.until(conditions.observe()), loops)


def timed_builds(
    build: dict[str, Build],
    rng: np.random.Generator,
    effort: Effort,
    clock: Clock,
    alive: Callable[[], object],
) -> tuple[int, dict[str, list[list[float]]]]:
    """(runs that make a sample, all three arms alike; arm -> builds -> samples)."""
    arms = built(build, rng)
    run_s = {arm: warm_up(timed, clock) for arm, timed in arms.items()}
    loops, planned_s = effort.loops(list(run_s.values()))
    builds, count = effort.plan(planned_s)
    samples: dict[str, list[list[float]]] = {arm: [] for arm in ARMS}
    for n in range(builds):
        if n:
            arms.clear()
            arms = built(build, rng)
            for timed in arms.values():
                warm_up(timed, clock, at_least_s=0.004, at_least_runs=2)
        for arm, values in rounds(arms, dict.fromkeys(ARMS, loops), count, rng, clock).items():
            samples[arm].append(values)
        alive()
    return loops, samples


def built(build: dict[str, Build], rng: np.random.Generator) -> dict[str, Timed]:
    """All arms, built in random order, each after an allocation of random size that moves its arrays."""
    moved, arms = [], {}
    names = list(build)
    for k in rng.permutation(len(names)):
        moved.append(np.empty(rng.integers(1, 1 << 16), np.uint8))
        arms[names[k]] = build[names[k]]()
    return {arm: arms[arm] for arm in names}


def time_pairs(
    emit: Callable[[Any], None], pairs: Sequence[Pair], seed: Sequence[int], effort: Effort
) -> None:
    """Runs in the worker: emits (name, Timing or Trouble) for each pair, and None as a sign of life."""
    rng = np.random.default_rng(list(seed))
    for k in rng.permutation(len(pairs)):
        pair = pairs[k]
        try:
            with guarded(pair.name):
                timing: Timing | Trouble = time_pair(
                    pair, rng, effort, clock_of(pair.device), alive=lambda: emit(None)
                )
        except BaseException as error:  # whatever a side raises is told of its pair; the others go on
            timing = trouble_of(error)
        emit((pair.name, timing))


def trouble_of(error: BaseException) -> Trouble:
    """The trouble that an exception stands for: its own status and reason, or those of a case."""
    if hasattr(error, "status") and hasattr(error, "reason"):
        return Trouble(error.status, error.reason)
    return Trouble(worker.kind(error), worker.describe(error))
