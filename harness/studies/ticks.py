"""A probe that costs little and writes much, for the study `kills`; two cases a seed are one comparison."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import groupby
from typing import Any, ClassVar

from ..case import Case
from ..probe import Emit, Plan, Probe, series


@dataclass(frozen=True)
class Ticks(Probe):
    """Reads the clock `ticks` times in both passes; a process of the second gives the ratio of two sums.

    pause_s     between blocks, so that a run lasts long enough to be killed in each of its parts
    """

    repeats: ClassVar[int] = 2
    ticks: int = 200
    pause_s: float = 0.02

    def cases(self, plan: Plan) -> list[Case]:
        return [
            Case(self.name, c, seed=s, variant=v) for c in plan.cells for s in plan.seeds for v in ("a", "b")
        ]

    def measure(self, case: Case, emit: Emit) -> tuple[Any, ...]:
        emit((case.id, [series("early", "s", self.read())]))
        return "the clock", [series("ticks", "s", self.read())]

    def read(self) -> list[float]:
        """Clock readings, after a pause."""
        time.sleep(self.pause_s)
        return [time.perf_counter() for _ in range(self.ticks)]

    def comparisons(self, cases: list[Case]) -> list[list[Case]]:
        return [list(pair) for _, pair in groupby(cases, key=lambda case: (case.spec, case.seed))]

    def compare(self, cases: list[Case], process: int, emit: Emit) -> None:
        readings = {case.variant: self.read() for case in cases}
        for case in cases:
            rows = [series("seconds", "s", readings[case.variant], process=process)]
            if "a" in readings:  # a resumed run may lack the partner
                ratio = sum(readings["a"]) / sum(readings[case.variant])
                rows.append(series("ratio", "1", ratio, process=process))
            emit((case.id, rows))

    def estimate_s(self, case: Case) -> float:
        return 2 * self.pause_s
