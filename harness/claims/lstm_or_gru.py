"""LSTM or GRU: which one is better, by task."""

from __future__ import annotations

from dataclasses import dataclass

from ..claim import Numbers, Ruling, ruled
from ._contest import Contest, better_on, listed


@dataclass(frozen=True)
class LSTMOrGRU(Contest):
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
    models = ("lstm", "gru")
    pairs = (("lstm", "gru"),)

    def judge(self, numbers: Numbers) -> Ruling:
        lstm, gru, level = (better_on(numbers, model) for model in ("lstm", "gru", None))
        one_sided = bool(lstm) != bool(gru) and bool(level)
        condition = listed(numbers, {"lstm": "LSTM better", "gru": "GRU better", None: "level"})
        return ruled(bool(lstm and gru), one_sided, f"{condition}.")
