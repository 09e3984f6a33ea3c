"""The rows of a frame that its summary reads: of a million, most are repetitions, or at other lengths."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd

from ..screen import one_line
from .frame import number, whole, within

TEXTS = ("run", "case", "probe", "metric", "unit", "status")


def needed(frame: pd.DataFrame, metrics: Collection[str]) -> pd.DataFrame:
    """The first row of each case, those that are not ok, and those of the metrics, in their order.

    Of throughput, those at a run's largest steps alone, and of each process the median, as a summary takes it
    anyway. A case has one definition, which all its rows have. A frame in which a row names no case is
    returned as it is.
    """
    if not {*TEXTS, "steps", "value", "process"} <= {*frame.columns}:
        return frame
    codes, texts = zip(*(pd.factorize(frame[name]) for name in TEXTS), strict=True)
    if (codes[1] < 0).any() or "" in texts[1]:
        return frame
    throughput, measured, ok = (
        np.array([*(one_line(text) in wanted for text in texts[k]), False])[codes[k]]  # null is at -1
        for k, wanted in ((2, ("throughput",)), (3, metrics), (5, ("ok",)))
    )
    case = codes[0] * len(texts[1]) + codes[1]
    timed = _longest(throughput, frame["steps"], codes[0]) & measured
    value = number(frame["value"])
    values = pd.Series(within(value[timed], frame["unit"][timed])[0])
    series = values.groupby([case[timed], codes[3][timed], whole(frame["process"][timed])])
    kept = ~pd.Series(case).duplicated().to_numpy() | ~ok | (measured & ~throughput)
    kept[timed] |= series.cumcount().to_numpy() == 0
    medians = value.copy()
    medians[timed] = series.transform("median")
    return frame[kept].assign(value=medians[kept])


def _longest(chosen: np.ndarray, steps: pd.Series, run: np.ndarray) -> np.ndarray:
    """Which of the chosen rows have the most steps of those in their run."""
    longest, own = chosen.copy(), pd.Series(whole(steps)[chosen])
    longest[chosen] = own == own.groupby(run[chosen]).transform("max")
    return longest
