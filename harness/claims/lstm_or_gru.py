"""LSTM or GRU: which one is better, by task."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..claim import Claim, ruled
from ._trainings import CONTEST, compared, contest, ratio_figure, standings


@dataclass(frozen=True)
class LSTMOrGRU(Claim):
    """Small tasks, each with the epochs it gets."""

    place = 7
    sentence = "Which of LSTM and GRU is better depends on the task."
    how = (
        "Five small tasks, both cells with H=32, torch's initialisation and the same data, Adam at 0.003,"
        " B=64, clip 1, the epoch with the best validation loss; the ratio of their test losses over paired"
        " seeds, with a 95 % t interval of its logarithm. A loss below the task's target counts as the"
        " target: what both have learned is level."
    )
    rule = (
        "holds: each of the two is better (the interval on one side of 1) on some task; with a condition: one"
        " is better on some tasks and level with the other on the rest; else not (one is better everywhere,"
        " or they are level everywhere)."
    )
    caption = "Ratio of the test losses; blue: LSTM better, orange: GRU better, grey: level."
    seconds = 90.0
    tasks: dict[str, int] = field(default_factory=lambda: dict(CONTEST))
    seeds: int = 4
    hidden_size: int = 32

    @property
    def parts(self):
        return 2 * len(self.tasks)

    def measure(self, tick):
        rows = contest(self.tasks, ("lstm", "gru"), self.seeds, tick, self.hidden_size)
        return {"rows": rows, "pairs": compared(rows, "lstm", "gru")}

    def judge(self, numbers):
        by = {
            who: [p["task"] for p in numbers["pairs"] if p["better"] == who] for who in ("lstm", "gru", None)
        }
        said = "; ".join(
            f"{name}: {', '.join(by[who]) or 'none'}"
            for who, name in (("lstm", "LSTM better"), ("gru", "GRU better"), (None, "level"))
        )
        one_sided = bool(by["lstm"]) != bool(by["gru"]) and bool(by[None])
        return ruled(bool(by["lstm"] and by["gru"]), one_sided, f"{said}.")

    def table(self, numbers):
        return standings(numbers["rows"], numbers["pairs"])

    def draw(self, numbers):
        return ratio_figure(numbers["pairs"])
