"""Which model reaches a task's target first, among the sentences at the top of a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf

import numpy as np
import pandas as pd

from .frame import tally
from .section import Finding, anchor_of
from .standings import Standing, described, level, models, of_task, several_backends, trained_tasks, tried
from .trainings import TRAINING
from .units import digits, quantity

MOST_TASKS = 6  # with a sentence each; of more it is counted who is first how often


@dataclass(frozen=True)
class _Race:
    """The models of a task by their training time until the target, the first one first.

    times: a column for each, a row a seed; infinite where the target was not reached, NaN where not tried.
    """

    task: str
    target: float
    order: Sequence[Standing]
    times: pd.DataFrame

    @property
    def others(self) -> list[int]:
        """The columns of models of another name than the first: one cell on two backends is no contest."""
        columns = range(1, len(self.order))
        return [i for i in columns if self.order[i].name != self.order[0].name] or list(columns)

    def first_in(self) -> tuple[int, int]:
        """(seeds in which the first was before all others, seeds in which it and another were tried)."""
        mine, best = self.times[0], self.times[self.others].min(axis=1)
        both = mine.notna() & best.notna()
        return int((mine < best)[both].sum()), int(both.sum())

    def is_sure(self) -> bool:
        """Whether the first was first in every seed, of several."""
        first, seeds = self.first_in()
        return seeds > 1 and first == seeds


def first_to_target(ready: pd.DataFrame) -> Iterator[Finding]:
    """For each task with a target that a model reached, the model that took the least time to it."""
    races = [race for task in trained_tasks(ready) for race in _races(of_task(ready, task), task)]
    if len(races) > MOST_TASKS:
        yield Finding(_counted(races), anchor_of(TRAINING))
        return
    yield from (Finding(_sentence(race), anchor_of(f"{TRAINING}: {race.task}")) for race in races)


def _races(rows: pd.DataFrame, task: str) -> Iterator[_Race]:
    """One, where several models were tried and one has reached the target."""
    times = [(model, _times(model)) for model in models(rows) if _is_timed(model)]
    if len(times) > 1 and any(_reached(one) for _, one in times):
        times.sort(key=lambda pair: (pair[1].median(), -_reached(pair[1]), pair[1].min()))
        columns = pd.DataFrame({place: one for place, (_, one) in enumerate(times)})
        yield _Race(task, level(rows, "target_loss"), [model for model, _ in times], columns)


def _is_timed(model: Standing) -> bool:
    """Whether it is known how long it took to the target, or that each of its seeds failed."""
    return "time_to_target_s" in model.results or (not len(model.results) and bool(tried(model)))


def _times(model: Standing) -> pd.Series:
    return model.values("time_to_target_s").reindex(tried(model), fill_value=inf)


def _reached(times: pd.Series) -> int:
    return int(np.isfinite(times).sum())


def _sentence(race: _Race) -> str:
    """'Task adding: gru reaches the target (a test loss of 0.010) first, after 2.00 s; lstm ...'"""
    several, best, next_ = several_backends(race.order), race.order[0], race.others[0]
    loss = "" if np.isnan(race.target) else f" (a test loss of {digits(race.target)})"
    first = f"{described(best, several)} reaches the target{loss} first, {_after(race.times[0])}"
    text = f"Task {race.task}: {first}; "
    if _reached(race.times[next_]):
        text += f"{described(race.order[next_], several)} {_after(race.times[next_])}"
    else:
        text += f"no model but {best.name if race.order[next_].name != best.name else 'this'} does"
    wins, seeds = race.first_in()
    if seeds < 2:
        return f"{text}. One seed says so."
    sure = "first in each" if wins == seeds else f"not sure: first in {wins}"
    return f"{text} ({sure} of {seeds} seeds)."


def _after(times: pd.Series) -> str:
    """'after 2.00 s', the median of the seeds that reached it, with their number where others did not."""
    known = times.dropna()
    reached = known[np.isfinite(known)]
    some = f" in {len(reached)} of {len(known)} seeds" if len(reached) < len(known) else ""
    return f"after {quantity(float(reached.median()), 's')}{some}"


def _counted(races: Sequence[_Race]) -> str:
    often = tally((race.order[0].name, race.is_sure()) for race in races)
    return f"First to the target of {len(races)} tasks: {often}. Sure: first in every seed."
