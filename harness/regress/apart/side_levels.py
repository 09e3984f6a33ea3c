"""One benchmark's levels on two sides that share no process, and the judgement that they allow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...measure.bootstrap import Interval
from ...measure.conditions import Warned
from ...measure.judge import Judgement
from ...measure.levels import decide, detectable, level
from ...measure.unpaired import welch
from ...measure.verdict import CHANGED, Verdict

SIDES = ("a", "b")
AGAIN = "again"  # the stage that repeats a change
# statuses of a side without this benchmark, as against one that broke
CANNOT_RUN = ("absent", "unavailable", "unsupported")
# a line of alone.py: name, status, and a reason or benchmark, anchor, implementation, versions
Measured = dict[str, Any]


@dataclass
class SideLevels:
    """The level of each process by side, or the line of one that measured nothing."""

    first: dict[str, list[float]] = field(default_factory=lambda: {"a": [], "b": []})
    again: dict[str, list[float]] = field(default_factory=lambda: {"a": [], "b": []})
    trouble: dict[str, Measured] = field(default_factory=dict)
    timed_s: float = 0.0

    def add(self, measured: Measured, side: str, stage: str) -> None:
        """Takes the line of one process."""
        if measured["status"] != "ok":
            self.trouble[side] = measured
            return
        levels = (self.again if stage == AGAIN else self.first)[side]
        levels.append(level(measured["benchmark"], measured["anchor"]))
        self.timed_s += sum(map(sum, measured["benchmark"])) + sum(map(sum, measured["anchor"]))

    def decide(self, rng: np.random.Generator) -> tuple[Verdict, str, Interval]:
        """Decides by the first look alone."""
        return decide(self.first["a"], self.first["b"], rng)

    @property
    def detectable(self) -> float:
        return detectable(self.first["a"], self.first["b"])

    def judgement(self, name: str, rng: np.random.Generator, warnings: tuple[Warned, ...]) -> Judgement:
        """A change needs the first look, its repetition and both pooled to show it."""
        for side, line in self.trouble.items():
            reason = f"{line['status']} in {side.upper()}: {line['reason']}"
            return Judgement(name, Verdict.INVALID, reason, status=line["status"], timed_s=self.timed_s)
        verdict, reason, effect = self.decide(rng)
        pooled = {side: self.first[side] + self.again[side] for side in SIDES}
        if verdict in CHANGED:
            repeated, why, _ = decide(self.again["a"], self.again["b"], rng)
            together, why_together, effect = decide(pooled["a"], pooled["b"], rng)
            if repeated is verdict is together:
                reason = f"{why_together}; confirmed by a repetition"
            else:
                verdict, reason = Verdict.UNSURE, f"first {reason}; a repetition did not confirm it: {why}"
        counts = min(map(len, self.first.values())), min(map(len, self.again.values()))
        p = welch(pooled["a"], pooled["b"])
        return Judgement(name, verdict, reason, effect, *counts, p, "ok", self.timed_s, warnings)


def blunt(least: Sequence[float]) -> str:
    """A note of how blunt such a comparison is, with the smallest changes that it could tell."""
    span = " to ".join(f"{100 * v:.0f}" for v in sorted({min(least), max(least)})) if least else ""
    limit = f": here a change of less than {span} % is not told (power 80 %)" if least else ""
    return (
        "each side ran in an environment and in processes of its own, far blunter than both in one"
        f" process{limit}"
    )
