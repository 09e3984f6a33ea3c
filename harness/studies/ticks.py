"""A probe that measures nothing dear and writes much: what `harness.studies.kills` kills. Two cases a seed
are one comparison.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import groupby
from typing import ClassVar

from ..case import Case
from ..probe import Probe, series


@dataclass(frozen=True)
class Ticks(Probe):
    """Reads the clock `ticks` times in both passes, and takes the ratio of two sums inside a process of the
    second one.

    pause_s     between blocks, so that a run lasts long enough to be killed in each of its parts
    """

    repeats: ClassVar[int] = 2
    ticks: int = 200
    pause_s: float = 0.02

    def cases(self, plan):
        return [
            Case(self.name, c, seed=s, variant=v) for c in plan.cells for s in plan.seeds for v in ("a", "b")
        ]

    def measure(self, case, emit):
        emit((case.id, [series("early", "s", self.read())]))
        return "the clock", [series("ticks", "s", self.read())]

    def read(self):
        time.sleep(self.pause_s)
        return [time.perf_counter() for _ in range(self.ticks)]

    def comparisons(self, cases):
        return [list(pair) for _, pair in groupby(cases, key=lambda case: (case.spec, case.seed))]

    def compare(self, cases, process, emit):
        found = {case.variant: self.read() for case in cases}
        for case in cases:
            ratio = (
                [series("ratio", "1", sum(found["a"]) / sum(found[case.variant]), process=process)]
                if "a" in found
                else []
            )
            emit((case.id, [series("seconds", "s", found[case.variant], process=process), *ratio]))

    def estimate_s(self, case):
        return 2 * self.pause_s
