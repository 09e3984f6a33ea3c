"""Weights shared over time against weights shared over space: a GRU and a causal dilated convolution of the
same size.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..case import CONVOLUTION
from ..claim import Claim, ruled
from ..report.table import Table, number
from ..report.units import quantity
from ._trainings import CONTEST, MATCHED, compared, contest, ratio_figure, standings


@dataclass(frozen=True)
class ConvolutionClaim(Claim):
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
    tasks: dict[str, int] = field(default_factory=lambda: dict(CONTEST))
    seeds: int = 4
    hidden_size: int = 32

    @property
    def parts(self):
        return 2 * len(self.tasks)

    def measure(self, tick):
        rows = contest(self.tasks, (MATCHED, CONVOLUTION), self.seeds, tick, self.hidden_size)
        return {"rows": rows, "pairs": compared(rows, MATCHED, CONVOLUTION)}

    def judge(self, numbers):
        pairs = numbers["pairs"]
        by = {who: [p["task"] for p in pairs if p["better"] == who] for who in (MATCHED, CONVOLUTION, None)}
        said = "; ".join(
            f"{name}: {', '.join(by[who]) or 'none'}"
            for who, name in ((MATCHED, "GRU better"), (CONVOLUTION, "convolution better"), (None, "level"))
        )
        seconds = [
            median(numbers, p["task"], MATCHED, "epoch_s")
            / median(numbers, p["task"], CONVOLUTION, "epoch_s")
            for p in pairs
        ]
        times = f"an epoch of the GRU takes {min(seconds):.2f} to {max(seconds):.2f} times as long"
        return ruled(len(by[MATCHED]) == len(pairs), bool(by[MATCHED]), f"{said}; {times}.")

    def table(self, numbers):
        made = standings(numbers["rows"], numbers["pairs"])
        more = []
        for row in made.rows:
            task = row[0].text
            both = [
                [median(numbers, task, model, what) for model in (MATCHED, CONVOLUTION)]
                for what in ("parameters", "epoch_s")
            ]
            field_ = median(numbers, task, CONVOLUTION, "receptive_field")
            steps = median(numbers, task, MATCHED, "steps")
            sizes = number(" and ".join(f"{v:,.0f}" for v in both[0]))
            times = number(" and ".join(quantity(v, "s") for v in both[1]))
            more.append((*row, sizes, number(f"{steps:.0f}", f"field {field_:.0f}"), times))
        return Table("", (*made.header, "parameters", "steps", "an epoch"), tuple(more), made.note)

    def draw(self, numbers):
        return ratio_figure(numbers["pairs"])


def median(numbers, task, model, what):
    """Over seeds."""
    return float(
        np.median([row[what] for row in numbers["rows"] if (row["task"], row["model"]) == (task, model)])
    )
