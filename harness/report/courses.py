"""The courses of trainings: loss by step, time and tokens, and what each epoch's test gave, ready to be drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from .losses import smoothed
from .observations import of_metric, sized

AXES = {"elapsed_s": "training time (s)", "lag": "optimiser steps", "tokens": "tokens"}
BY_STEP, BY_EPOCH = ("loss", "elapsed_s"), ("epoch_s", "tokens", "test_loss", "accuracy")
SMOOTH = (40, 20)  # beyond so many steps, over so small a share of them: the losses of single batches hide each other


@dataclass(frozen=True)
class Course:
    """One line of a figure: what each seed did, and the median over them; with one seed that is the same.

    Of steps a frame has the columns lag, loss, elapsed_s and tokens, smoothed as drawn; of epochs test_loss and accuracy at the
    same, by epoch.
    """

    cell: str
    backend: str
    steps: list[pd.DataFrame]
    epochs: list[pd.DataFrame]
    middle_steps: pd.DataFrame
    middle_epochs: pd.DataFrame
    length: int  # steps of the longest seed

    @property
    def losses(self) -> np.ndarray:
        """Every value that is drawn of it in a panel of losses."""
        return np.concatenate([*(one["loss"] for one in self.steps), *(one["test_loss"] for one in self.epochs)]).astype(float)


def courses(rows: pd.DataFrame) -> dict[str, Course]:
    """By 'cell, backend': those of which a finite loss is known."""
    known = of_metric(rows[rows["status"] == "ok"], *BY_STEP, *BY_EPOCH)
    known = known[known["lag"].notna()].drop_duplicates(["label", "backend", "seed", "metric", "lag"], keep="last")
    found = {}
    for (cell, backend), here in known.groupby(["label", "backend"], sort=False):
        if np.isfinite(of_metric(here, "loss")["value"]).any():
            found[f"{sized(cell, here.iloc[0])}, {backend}"] = _course(cell, backend, here)
    return found


def _course(cell: str, backend: str, rows: pd.DataFrame) -> Course:
    wide = rows.pivot(index=["seed", "lag"], columns="metric", values="value").reindex(columns=[*BY_STEP, *BY_EPOCH])
    each = [_of_seed(one.droplevel("seed")) for _, one in wide.groupby(level="seed")]
    steps, epochs = [one for one, _ in each], [one for _, one in each]
    drawn = [smoothed(one, *SMOOTH) for one in steps]
    middle_steps = drawn[0] if len(each) == 1 else smoothed(middle(steps, "lag", "loss"), *SMOOTH)
    return Course(cell, backend, drawn, epochs, middle_steps, middle(epochs, "epoch"), max(map(len, steps)))


def _of_seed(wide: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    steps = wide.loc[wide[list(BY_STEP)].notna().any(axis=1), list(BY_STEP)].reset_index()
    steps["loss"] = steps["loss"].where(np.isfinite(steps["loss"]))  # what is not finite is a gap
    epochs = wide.loc[wide[list(BY_EPOCH)].notna().any(axis=1), list(BY_EPOCH)].reset_index(names="epoch")
    epochs["elapsed_s"] = epochs["epoch_s"].cumsum()
    epochs["lag"] = _last_steps(steps, epochs["elapsed_s"].to_numpy(float))
    steps["tokens"] = _tokens(steps["lag"].to_numpy(float), epochs)
    return steps, epochs


def _last_steps(steps: pd.DataFrame, ends: np.ndarray) -> np.ndarray:
    """The last optimiser step of each epoch, found by the seconds at which epochs end."""
    timed = steps[steps["elapsed_s"].notna()]
    if not len(timed):
        return np.full(len(ends), np.nan)
    place = np.searchsorted(timed["elapsed_s"].to_numpy(), ends * (1 + 1e-6), side="right") - 1
    return np.where(np.isnan(ends), np.nan, timed["lag"].to_numpy(float)[place.clip(0)])


def _tokens(lags: np.ndarray, epochs: pd.DataFrame) -> np.ndarray:
    """Tokens seen at each step: evenly over the steps of an epoch; NaN beyond the last whole epoch."""
    known = epochs.dropna(subset=["lag", "tokens"])
    if not len(known) or not known["lag"].is_monotonic_increasing:
        return np.full(len(lags), np.nan)
    return np.interp(lags, [0, *known["lag"]], [0, *known["tokens"]], right=np.nan)


def middle(seeds: list[pd.DataFrame], key: str, counted: str = "") -> pd.DataFrame:
    """The median over seeds at each `key`, as far as at least half of the seeds went (have a value `counted`)."""
    by = pd.concat(seeds).groupby(key)
    size = by[counted].count() if counted else by.size()
    return by.median().reset_index()[size.to_numpy() * 2 >= len(seeds)]
