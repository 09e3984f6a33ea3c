"""The courses of trainings: loss by step and time, and what each epoch's test gave, ready to be drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..frame import of_metric, sized
from .losses import smoothed

AXES = {"elapsed_s": "training time (s)", "lag": "optimiser steps"}
BY_STEP, BY_EPOCH = ("loss", "elapsed_s"), ("epoch_s", "tokens", "test_loss", "accuracy")
# beyond so many steps, over one in so many of them, thinned to so many: four points in each mean
SMOOTH = (40, 20, 80)
COLUMNS = ("label", "backend", "seed", "metric", "lag", "value", "status", "match", "hidden_size")
WENT = ("ok", "pruned", "diverged")  # statuses of trainings that have a course
_NONE = pd.Series(dtype=float, index=pd.Index([], dtype=float))


@dataclass(frozen=True)
class Course:
    """One line of a figure: what each seed did, and the median over them; with one seed that is the same.

    Of steps a frame has the columns lag, loss and elapsed_s, smoothed and thinned as drawn; of epochs
    test_loss and accuracy at the same, by epoch. `broken` has the last finite step of each seed that
    diverged.
    """

    cell: str
    backend: str
    steps: list[pd.DataFrame]
    epochs: list[pd.DataFrame]
    broken: pd.DataFrame
    middle_steps: pd.DataFrame
    middle_epochs: pd.DataFrame
    length: int  # steps of the longest seed
    tokens_a_step: float  # over whole epochs; NaN where unknown

    @property
    def losses(self) -> np.ndarray:
        """Every value that is drawn of it in a panel of losses."""
        return np.concatenate(
            [*(one["loss"] for one in self.steps), *(one["test_loss"] for one in self.epochs)]
        ).astype(float)


def courses(rows: pd.DataFrame) -> dict[str, Course]:
    """The courses by 'cell, backend' of which a finite loss is known."""
    known = of_metric(rows[rows["status"].isin(WENT) & rows["lag"].notna()], *BY_STEP, *BY_EPOCH)[
        list(COLUMNS)
    ]
    found = {}
    for (cell, backend), here in known.groupby(["label", "backend"], sort=False):
        if np.isfinite(of_metric(here, "loss")["value"]).any():
            found[f"{sized(cell, here.iloc[0])}, {backend}"] = _course(cell, backend, here)
    return found


def _course(cell: str, backend: str, rows: pd.DataFrame) -> Course:
    seeds = [one for _, one in rows.groupby("seed")]
    steps, epochs = (list(some) for some in zip(*map(_of_seed, seeds), strict=True))
    ended = [one.dropna(subset="loss").tail(1) for one in steps]
    broken = [
        end[:0] if (rows["status"] != "diverged").all() else end
        for end, rows in zip(ended, seeds, strict=True)
    ]
    drawn = [smoothed(one, *SMOOTH) for one in steps]
    middle_steps = drawn[0] if len(seeds) == 1 else smoothed(middle(steps, "lag", "loss"), *SMOOTH)
    tokens, longest = _tokens_a_step(pd.concat(epochs)), max(map(len, steps))
    return Course(
        cell,
        backend,
        drawn,
        epochs,
        pd.concat(broken),
        middle_steps,
        middle(epochs, "epoch"),
        longest,
        tokens,
    )


def _of_seed(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Its steps, and its epochs."""
    by = {metric: _by_lag(one) for metric, one in rows.groupby("metric")}
    steps, epochs = (
        pd.DataFrame({name: by.get(name, _NONE) for name in names}) for names in (BY_STEP, BY_EPOCH)
    )
    steps, epochs = steps.reset_index(names="lag"), epochs.reset_index(names="epoch")
    steps["loss"] = steps["loss"].where(np.isfinite(steps["loss"]))  # what is not finite is a gap
    epochs["elapsed_s"] = epochs["epoch_s"].cumsum()
    epochs["lag"] = _last_steps(steps, epochs["elapsed_s"].to_numpy(float))
    return steps, epochs


def _by_lag(rows: pd.DataFrame) -> pd.Series:
    """Of a lag that was recorded twice the last counts."""
    found = pd.Series(rows["value"].to_numpy(float), rows["lag"].to_numpy(float))
    return found[~found.index.duplicated(keep="last")]


def _last_steps(steps: pd.DataFrame, ends: np.ndarray) -> np.ndarray:
    """The last optimiser step of each epoch, found by the seconds at which epochs end."""
    timed = steps[steps["elapsed_s"].notna()]
    if not len(timed):
        return np.full(len(ends), np.nan)
    place = np.searchsorted(timed["elapsed_s"].to_numpy(), ends * (1 + 1e-6), side="right") - 1
    return np.where(np.isnan(ends), np.nan, timed["lag"].to_numpy(float)[place.clip(0)])


def _tokens_a_step(epochs: pd.DataFrame) -> float:
    known = epochs.dropna(subset=["lag", "tokens"])
    return float((known["tokens"] / known["lag"]).median()) if len(known) else np.nan


def middle(seeds: list[pd.DataFrame], key: str, counted: str = "") -> pd.DataFrame:
    """The median over seeds at each `key`, as far as at least half of the seeds have one (of `counted`)."""
    by = pd.concat(seeds).groupby(key)
    size = by[counted].count() if counted else by.size()
    return by.median().reset_index()[size.to_numpy() * 2 >= len(seeds)]
