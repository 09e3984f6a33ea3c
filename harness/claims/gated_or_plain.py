"""LSTM and GRU against the plain RNN, on the same tasks and data."""

from __future__ import annotations

from dataclasses import dataclass

from ..claim import Numbers, Ruling, ruled
from ._contest import Contest, Row


@dataclass(frozen=True)
class GatedOrPlain(Contest):
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
    models = ("elman", "lstm", "gru")
    pairs = (("lstm", "elman"), ("gru", "elman"))

    def judge(self, numbers: Numbers) -> Ruling:
        pairs = numbers["pairs"]
        better = [p for p in pairs if p["better"] == p["of"]]
        worse = [p for p in pairs if p["better"] == p["to"]]
        level = [p for p in pairs if p["better"] is None]
        named = [f"{word}: {where(some)}" for word, some in (("level", level), ("worse", worse)) if some]
        condition = "; ".join([f"Better in {len(better)} of {len(pairs)} comparisons", *named]) + "."
        return ruled(len(better) == len(pairs), len(better) > len(worse), condition)


def where(pairs: list[Row]) -> str:
    return ", ".join(f"{p['of']} on {p['task']}" for p in pairs)
