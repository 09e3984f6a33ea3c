"""Weights shared over time or over space: a GRU against a causal dilated convolution of the same size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..case import CONVOLUTION
from ..claim import Numbers, Ruling, ruled
from ..report.table import Table, number
from ..report.units import quantity
from ._contest import Contest, better_on, listed
from ._trainings import MATCHED

MODELS = (MATCHED, CONVOLUTION)


@dataclass(frozen=True)
class ConvolutionClaim(Contest):
    """Small tasks, each with the epochs it gets; the trainings of the GRU are not done twice."""

    place = 10
    sentence = (
        "For sequences, weights shared over time (a recurrent network) serve better than those shared over"
        " space (a convolution)."
    )
    how = (
        "The tasks, data, seeds and recipe of the claims before: a GRU with H=32 against a causal dilated"
        " convolution (TCN) of as many parameters, whose receptive field covers the sequence; test losses,"
        " and the median seconds of an epoch."
    )
    rule = (
        "holds: the GRU is better (the interval of the losses' ratio below 1) on every task; with a"
        " condition: on some; else not."
    )
    caption = "Ratio of the test losses; blue: GRU better, orange: convolution better, grey: level."
    seconds = 90.0
    models = MODELS
    pairs = (MODELS,)

    def judge(self, numbers: Numbers) -> Ruling:
        pairs, better = numbers["pairs"], better_on(numbers, MATCHED)
        condition = listed(numbers, {MATCHED: "GRU better", CONVOLUTION: "convolution better", None: "level"})
        gru, convolution = ([median(numbers, p["task"], model, "epoch_s") for p in pairs] for model in MODELS)
        times = [a / b for a, b in zip(gru, convolution, strict=True)]
        condition += f"; an epoch of the GRU takes {min(times):.2f} to {max(times):.2f} times as long."
        return ruled(len(better) == len(pairs), bool(better), condition)

    def table(self, numbers: Numbers) -> Table:
        """The standings, with the size and speed of both and the steps that the convolution sees."""
        plain = super().table(numbers)
        rows = []
        for row in plain.rows:
            task = row[0].text
            parameters, epochs = (
                [median(numbers, task, model, column) for model in MODELS]
                for column in ("parameters", "epoch_s")
            )
            receptive = median(numbers, task, CONVOLUTION, "receptive_field")
            steps = median(numbers, task, MATCHED, "steps")
            sizes = number(" and ".join(f"{v:,.0f}" for v in parameters))
            times = number(" and ".join(quantity(v, "s") for v in epochs))
            rows.append((*row, sizes, number(f"{steps:.0f}", f"field {receptive:.0f}"), times))
        return Table("", (*plain.header, "parameters", "steps", "an epoch"), tuple(rows), plain.note)


def median(numbers: Numbers, task: str, model: str, column: str) -> float:
    """Over seeds."""
    some = [row[column] for row in numbers["rows"] if (row["task"], row["model"]) == (task, model)]
    return float(np.median(some))
