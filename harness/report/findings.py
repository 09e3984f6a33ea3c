"""What the results say, first on the page: sentences that are computed from them, with their intervals."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby

import pandas as pd

from ..store import ERRORS
from .agreeing import agreeing
from .clipped import clipped
from .frame import DIRECTIONS, FEWEST, SETTING, measured, of_metric, of_probe, setting_text, telling
from .leading import fastest, smallest
from .overview import OTHER_BATCHES
from .reaching import reach, vanishing
from .refused import failed
from .section import Finding, anchor_of
from .sections import throughput
from .standings import (
    Standing,
    described,
    lower_than_next,
    models,
    next_one,
    of_task,
    rivals,
    several_backends,
    trained_tasks,
    with_loss,
)
from .summary import Row
from .targets import first_to_target
from .trainings import TRAINING
from .units import digits, interval, quantity

MOST_CELLS = 4  # with a sentence each; of more cells it is counted which backend is the fastest
MOST_TASKS = 6  # with a sentence each


# what sentences may need, and where they have it
NOTES = (
    (r" … ", "Brackets hold the lowest and the highest of the processes."),
    (
        r" as fast as ",
        f"A backend is called the fastest only where it was faster in each of at least {FEWEST} processes.",
    ),
    (r"\bnative\b", "native is PyTorch's own layer, such as torch.nn.GRU."),
    (
        r"\b[TBIH] \d",
        "T is the number of steps, B that of sequences at once, I that of inputs, H that of hidden units.",
    ),
    (r"", "A sentence leads to what it rests on."),
)


def findings(rows: Iterable[Row], ready: pd.DataFrame) -> list[Finding]:
    """The sentences about rightness, speed, sizes, trainings, gradients and failures, as far as known.

    rows are those of the summary; ready is the tidy frame after `prepare`.
    """
    rows = list(rows)
    without = {"Failed?": list(failed(ready))}
    answers: dict[str, Iterable[Finding]] = {
        "Right?": agreeing(ready),
        **(without if ready["status"].isin(ERRORS).any() else {}),  # what was not asked of a cell comes last
        "Fast?": chain(fastest(ready), _speed(ready)),
        "Costs?": smallest(ready),
        "Learns?": chain(_learned(ready), first_to_target(ready), clipped(ready)),
        "Remembers?": chain(vanishing(rows), reach(rows)),
        **without,
    }
    return [replace(one, question=question) for question, some in answers.items() for one in some]


def note(found: Iterable[Finding]) -> str:
    """What a reader needs to know of the sentences, below them."""
    text = "\n".join(one.text for one in found)
    told = [told for sign, told in NOTES if re.search(sign, text)]
    if len(set(re.findall(r"\bB (\d+)", text))) == 1:
        told.insert(-1, OTHER_BATCHES)
    return " ".join(told)


def by_question(found: Iterable[Finding]) -> list[tuple[str, list[Finding]]]:
    """The sentences of each question, in their order."""
    return [(question, list(some)) for question, some in groupby(found, lambda one: one.question)]


@dataclass(frozen=True)
class _Contest:
    """The fastest backend of one cell in one setting, and how the next one compares with it."""

    cell: str
    setting: str
    direction: str
    backends: int
    first: str
    second: str
    ratio: float
    low: float  # NaN where there are too few processes
    high: float

    @property
    def sure(self) -> bool:
        """Whether the first was faster in every process, of enough of them."""
        return self.low > 1


def _speed(ready: pd.DataFrame) -> Iterator[Finding]:
    contests = list(_contests(ready))
    anchor = anchor_of(throughput.HEADING)
    for direction, name in DIRECTIONS.items():
        here = [contest for contest in contests if contest.direction == direction]
        if 1 < len(here) <= MOST_CELLS and _alike(here):
            yield Finding(_one_winner(here, name), anchor)
        elif 0 < len(here) <= MOST_CELLS:
            yield from (Finding(_winner(contest, name), anchor) for contest in here)
        elif here:
            yield Finding(_winners(here, name), anchor)


def _contests(ready: pd.DataFrame) -> Iterator[_Contest]:
    """One for each cell, setting and direction that several backends were timed in."""
    rows = of_metric(measured(of_probe(ready, "throughput", None)), "seconds")
    rows = rows[rows["steps"] == rows.groupby("run")["steps"].transform("max")]
    told = telling(rows, (*SETTING, "steps"))
    for (cell, direction, *_), here in rows.groupby(["label", "direction", *SETTING, "steps"], sort=False):
        seconds = here.groupby(["process", "backend"])["value"].median().unstack()
        if seconds.shape[1] > 1:
            setting = setting_text(here.iloc[0], told)
            yield _contest(cell, setting, direction, seconds)


def _contest(cell: str, setting: str, direction: str, seconds: pd.DataFrame) -> _Contest:
    """seconds: a row a process, a column a backend. Ratios are of times in one process."""
    first, second = seconds.median().sort_values(kind="stable").index[:2]
    ratios = (seconds[second] / seconds[first]).dropna()
    low, high = (ratios.min(), ratios.max()) if len(ratios) >= FEWEST else (float("nan"), float("nan"))
    count = seconds.shape[1]
    return _Contest(cell, setting, direction, count, first, second, float(ratios.median()), low, high)


def _alike(contests: Sequence[_Contest]) -> bool:
    """Whether one backend is surely ahead of one other in all of them."""
    return all(one.sure for one in contests) and len({(c.first, c.second, c.backends) for c in contests}) == 1


def _one_winner(contests: Sequence[_Contest], direction: str) -> str:
    """'Forward: numba, the fastest of 3 backends, is 2.00× as fast as native in gru (1.90 … 2.10), ...'"""
    one = contests[0]
    ratios = [
        f"{quantity(c.ratio, 'x')}{f' as fast as {c.second}' if c is one else ''} in"
        f" {', '.join(filter(None, (c.cell, c.setting)))} ({interval(c.low, c.high, 'x', c.ratio)})"
        for c in contests
    ]
    return f"{direction.capitalize()}: {one.first}{_rank(one)} is {', '.join(ratios)}."


def _rank(contest: _Contest) -> str:
    return f", the fastest of {contest.backends} backends," if contest.backends > 2 else ""


def _winner(contest: _Contest, direction: str) -> str:
    where = ", ".join(filter(None, (contest.cell, contest.setting, direction)))
    how = quantity(contest.ratio, "x")
    between = interval(contest.low, contest.high, "x", contest.ratio)
    if contest.sure:
        return f"{where}: {contest.first}{_rank(contest)} is {how} as fast as {contest.second} ({between})."
    if between:
        return f"{where}: {contest.first} and {contest.second} are not told apart ({how}, {between})."
    return (
        f"{where}: {contest.first} took the least time, {how} as fast as {contest.second};"
        f" that needs {FEWEST} processes to be sure."
    )


def _winners(contests: Sequence[_Contest], direction: str) -> str:
    """'Forward, 29 comparisons of backends: numba is the fastest in 26, 3 are not told apart.'"""
    sure = Counter(contest.first for contest in contests if contest.sure).most_common()
    clauses = [f"{name} is the fastest in {count}" for name, count in sure]
    open_ = len(contests) - sum(count for _, count in sure)
    clauses += [f"{open_} {'is' if open_ == 1 else 'are'} not told apart"] if open_ else []
    return f"{direction.capitalize()}, {len(contests)} comparisons of backends: {', '.join(clauses)}."


def _learned(ready: pd.DataFrame) -> Iterator[Finding]:
    """The model with the lowest test loss of each task; of many tasks it is counted who has it how often."""
    ranks = {task: with_loss(models(of_task(ready, task))) for task in trained_tasks(ready)}
    ranks = {task: order for task, order in ranks.items() if len(order) > 1}
    if len(ranks) > MOST_TASKS:
        yield Finding(_most(list(ranks.values())), anchor_of(TRAINING))
        return
    for task, order in ranks.items():
        lower = _lower_rival(order[0], rivals(of_task(ready, task)))
        yield Finding(_best(task, order) + lower, anchor_of(f"{TRAINING}: {task}"))


def _best(task: str, order: Sequence[Standing]) -> str:
    several = several_backends(order)
    best, next_, (lower, seeds) = order[0], next_one(order), lower_than_next(order)
    text = (
        f"Task {task}: {described(best, several)} has the lowest test loss, {digits(best.loss)};"
        f" {described(next_, several)} has {digits(next_.loss)}"
    )
    if seeds < 2:
        return f"{text}. One seed says so."
    sure = "lower in each" if lower == seeds else f"not sure: lower in {lower}"
    return f"{text} ({sure} of {seeds} seeds)."


def _lower_rival(best: Standing, others: Sequence[Standing]) -> str:
    """' The rival “NAME”, without a recurrent cell, has a lower one, 0.148.'; '' where none has."""
    lower = [one for one in with_loss(list(others)) if one.loss < best.loss]
    return (
        f" The rival “{lower[0].name}”, without a recurrent cell, has a lower one, {digits(lower[0].loss)}."
        if lower
        else ""
    )


def _most(tasks: Sequence[Sequence[Standing]]) -> str:
    """'Lowest test loss of 23 tasks: gru in 12 (9 of them sure), lstm in 7 (2 of them sure). Sure: ...'"""
    first, sure = Counter(order[0].name for order in tasks), Counter[str]()
    for order in tasks:
        lower, seeds = lower_than_next(order)
        sure[order[0].name] += seeds > 1 and lower == seeds
    clauses = [f"{name} in {count} ({sure[name]} of them sure)" for name, count in first.most_common()]
    return f"Lowest test loss of {len(tasks)} tasks: {', '.join(clauses)}. Sure: lower in every seed."
