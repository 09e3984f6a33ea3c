"""LSTM and GRU against the plain RNN, on the same tasks and data."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..claim import Claim, ruled
from ._trainings import CONTEST, compared, contest, ratio_figure, standings


@dataclass(frozen=True)
class GatedOrPlain(Claim):
    """Small tasks, each with the epochs it gets; the trainings of lstm_or_gru are not done twice."""

    place = 8
    sentence = "LSTM and GRU both do better than the plain RNN."
    how = (
        "The tasks, data, seeds and recipe of the claim before, with a plain tanh RNN (elman) of the same H."
    )
    rule = (
        "holds: both are better than the plain RNN on every task (the interval of the losses' ratio below 1);"
        " with a condition: they are better more often than worse; else not."
    )
    caption = (
        "Ratio of the test losses; blue: the gated cell better, orange: the plain RNN better, grey: level."
    )
    seconds = 45.0
    tasks: dict[str, int] = field(default_factory=lambda: dict(CONTEST))
    seeds: int = 4
    hidden_size: int = 32

    @property
    def parts(self):
        return 3 * len(self.tasks)

    def measure(self, tick):
        rows = contest(self.tasks, ("elman", "lstm", "gru"), self.seeds, tick, self.hidden_size)
        return {"rows": rows, "pairs": compared(rows, "lstm", "elman") + compared(rows, "gru", "elman")}

    def judge(self, numbers):
        pairs = numbers["pairs"]
        better = [p for p in pairs if p["better"] == p["of"]]
        worse = [p for p in pairs if p["better"] == p["to"]]
        level = [p for p in pairs if p["better"] is None]
        named = [f"{word}: {where(some)}" for word, some in (("level", level), ("worse", worse)) if some]
        condition = "; ".join([f"Better in {len(better)} of {len(pairs)} comparisons", *named]) + "."
        return ruled(len(better) == len(pairs), len(better) > len(worse), condition)

    def table(self, numbers):
        return standings(numbers["rows"], numbers["pairs"])

    def draw(self, numbers):
        return ratio_figure(numbers["pairs"])


def where(pairs):
    return ", ".join(f"{p['of']} on {p['task']}" for p in pairs)
