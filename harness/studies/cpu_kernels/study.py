"""The course of the study: every point in several processes, then the disturbed ones again."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import reduce

import numpy as np

from ...measure import worker
from .judged import Judged, better, judge
from .points import OWN, Grid, Point
from .records import Records
from .timing import Timing, time_points

AGAIN = 2  # further attempts at a disturbed point
SILENCE_S = 600.0  # without a word, after which a process hangs
Call = Callable[..., worker.Result]


@dataclass
class Study:
    """Measures a grid. Attempts after the first begin no process once budget_s has passed."""

    grid: Grid
    records: Records
    rng: np.random.Generator
    processes: int = 3
    budget_s: float = 780.0
    now: Callable[[], float] = time.monotonic
    call: Call = worker.call
    say: Callable[[str], None] = lambda text: None
    begun: float = field(init=False)

    def __post_init__(self) -> None:
        self.begun = self.now()

    def run(self) -> list[Judged]:
        """All points, judged, in the grid's order."""
        points = self.grid.points()
        self.attempt(points, 0)
        for number in range(1, AGAIN + 1):
            again = [judged.point for judged in self.judged(points) if judged.disturbed]
            if not again or self.late():
                break
            self.say(f"{len(again)} of {len(points)} points were disturbed, and are measured again")
            self.attempt(again, number)
        return self.judged(points)

    def late(self) -> bool:
        return self.now() - self.begun > self.budget_s

    def attempt(self, points: Sequence[Point], number: int) -> None:
        """Times the points that lack processes of this attempt, those of a cell together in one process."""
        for process in range(self.processes):
            for cell in dict.fromkeys(point.cell for point in points):
                wanted = [
                    point
                    for point in points
                    if point.cell == cell and len(self.records.timings[point, number]) <= process
                ]
                if number and self.late():
                    return
                if wanted:
                    self.say(f"{cell}, process {process + 1} of {self.processes}: {len(wanted)} points")
                    self.one_process(wanted, number, process == 0)

    def one_process(self, points: Sequence[Point], number: int, checked: bool) -> None:
        """One worker; where it breaks, its point is told of, and the others go on in another one."""
        left = list(points)
        while left:
            waiting = list(left)

            def message(content: tuple[Point, Timing]) -> None:
                left.remove(content[0])
                self.records.add(content[0], number, content[1])

            seed = self.rng.integers(0, 2**32, 4).tolist()
            peers = {point.direction: self.grid.of(point.direction) for point in points}
            result = self.call(
                time_points,
                left.copy(),
                peers,
                seed,
                checked,
                on_message=message,
                threads=1,
                timeout_s=SILENCE_S,
            )
            if not left:
                return
            if left == waiting or len(left) == 1:  # it broke at once: alone each says which it is
                self.alone(left, number, result.reason or "the process ended without a word")
                return

    def alone(self, points: list[Point], number: int, reason: str) -> None:
        """What is left of a process that broke: a single point is the trouble, of several each is tried."""
        if len(points) == 1:
            self.records.add(points[0], number, Timing(troubles={OWN: reason}))
            return
        for point in points:
            self.one_process([point], number, True)

    def judged(self, points: Sequence[Point]) -> list[Judged]:
        """Each point by its least disturbed attempt."""
        return [
            reduce(better, [judge(point, timings, self.rng) for timings in self.records.attempts(point)])
            for point in points
        ]
