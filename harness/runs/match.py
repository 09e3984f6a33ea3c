"""Equal budgets: hidden sizes at which cells have as many parameters, operations or numbers of state as the
first cell.

The first cell at the hidden_size that was asked for sets the budget. Operations are FLOPs of a forward step;
a budget is the cell's alone, without what a probe puts behind it.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

import numpy as np

from cellbench import cells
from cellbench.cells.derived.layers import unfit

from .. import task as tasks
from ..case import CONVOLUTION, Case

BUDGETS: dict[str, Callable[[cells.GatedCell, int, int], int]] = {
    "parameters": lambda cell, i, h: cell.parameter_count(i, h),
    "operations": lambda cell, i, h: cell.operations(i, h).forward,
    "state": lambda cell, i, h: sum(math.prod(shape) for shape in cell.state_shapes(1, h).values()),
}
WIDEST = 128  # times the asked hidden_size that are looked at, at most
AT_ONCE = {
    "operations": 32
}  # sizes of which a budget that is slow to count is counted in one pass; of others all are


def matched(case: Case, what: str, first: str) -> Case:
    """The case at the hidden_size whose budget is closest to that of cell `first` at the case's own.

    A cell that has no size to choose keeps it, and the case says why it is refused. Raises ValueError if the
    first cell cannot have the size.
    """
    input_size = case.input_size or input_of_task(case.task, case.probe_options.get("embedding_size"))
    if (
        input_size is None or case.hidden_size is None or case.spec == CONVOLUTION
    ):  # nothing of a size is measured
        return case
    said, size, refused = choice(what, first, case.spec, input_size, case.hidden_size)
    return replace(case, match=said, hidden_size=size, refused=refused)


@cache
def choice(what: str, first: str, spec: str, input_size: int, asked: int) -> tuple[str, int, str | None]:
    """(what is matched to what, the chosen hidden size, None or why there is none)."""
    model, cell = cells.get(first), cells.get(spec)
    if reason := unfit(model, input_size, asked):
        raise ValueError(f"match={what} takes its budget from the first of cells, but {reason}")
    budget = BUDGETS[what](model, input_size, asked)
    label = ":".join(filter(None, (model.name, model.options)))
    said = f"{what} {budget} ({label}, H {asked})"
    if spec == first:
        return said, asked, None
    sizes = [
        h
        for h in range(1, reach(what, cell, input_size, asked, budget) + 1)
        if unfit(cell, input_size, h) is None
    ]
    if len(sizes) < 2:
        reason = next(filter(None, (unfit(cell, input_size, h) for h in (asked, asked + 1))))
        return said, asked, f"cell {cell.name!r} has no hidden_size to choose for match={what}: {reason}"
    return (
        said,
        closest(
            lambda h: BUDGETS[what](cell, input_size, h), sizes, budget, asked, AT_ONCE.get(what, len(sizes))
        ),
        None,
    )


def reach(what: str, cell: cells.GatedCell, input_size: int, asked: int, budget: int) -> int:
    """The largest size to look at: where doubling the asked one first costs twice the budget, or WIDEST times
    it.
    """
    size = asked
    while size < WIDEST * asked:
        size *= 2
        fits = next((h for h in range(size, 2 * size) if unfit(cell, input_size, h) is None), None)
        if fits and BUDGETS[what](cell, input_size, fits) >= 2 * budget:
            return fits
    return size


def closest(count: Callable[[int], int], sizes: Sequence[int], budget: int, asked: int, at_once: int) -> int:
    """The size whose count is closest to the budget; of several the one closest to the asked size.

    Counts need not grow with the size. Where there are more sizes than `at_once`, evenly spaced ones are
    counted, then those between the neighbours of the best.
    """
    step = -(-len(sizes) // at_once)
    looked = sorted({*sizes[::step], sizes[-1], *([asked] if asked in sizes else [])})
    best = min(looked, key=lambda h: (abs(count(h) - budget), abs(h - asked)))
    if step == 1:
        return best
    at, place = bisect_left(sizes, best), looked.index(best)
    low = bisect_left(sizes, looked[max(place - 1, 0)])
    high = bisect_left(sizes, looked[min(place + 1, len(looked) - 1)])
    return closest(count, sizes[min(low, at) : high + 1], budget, asked, at_once)


@cache
def input_of_task(spec: str | None, embedding_size: int | None = None) -> int | None:
    """Width of a task's inputs, of tokens that of their embedding; None without a task, or without its data."""
    if spec is None:
        return None
    try:
        data = tasks.draw(spec, np.random.default_rng(0))
        return embedding_size if data.vocabulary is not None else data.train.x.shape[2]
    except tasks.DataAbsent:
        return None
