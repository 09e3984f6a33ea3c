"""Equal budgets: hidden sizes at which cells cost about as much as the first cell.

A budget counts parameters, operations (FLOPs of a forward step) or the numbers of the state. The first cell
at the hidden_size of the configuration sets it. It is the cell's alone: a probe's readout does not count.
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
WIDEST = 128  # times the first cell's hidden_size that are looked at, at most
MOST_SIZES = 100_000  # hidden sizes that are looked at
# sizes at which a budget that is slow to count is counted in one pass; other budgets are counted at all sizes
AT_ONCE = {"operations": 32}


def matched(case: Case, budget: str, first: str) -> Case:
    """The case at the hidden_size whose budget is closest to that of cell `first` at the case's own.

    A cell that has no size to choose keeps it, and the case says why it is refused. Raises ValueError if the
    first cell cannot have the size.
    """
    input_size = case.input_size or input_of_task(case.task, case.probe_options.get("embedding_size"))
    if input_size is None or case.hidden_size is None or case.spec == CONVOLUTION:
        return case  # nothing is measured that has a size
    label, size, refused = choice(budget, first, case.spec, input_size, case.hidden_size)
    return replace(case, match=label, hidden_size=size, refused=refused)


@cache
def choice(budget: str, first: str, spec: str, input_size: int, size: int) -> tuple[str, int, str | None]:
    """(what is matched to what, the chosen hidden size, None or why there is none).

    `size` is the hidden size of the first cell.
    """
    model, cell = cells.get(first), cells.get(spec)
    if reason := unfit(model, input_size, size):
        raise ValueError(f"match={budget} takes its budget from the first of cells, but {reason}")
    target = BUDGETS[budget](model, input_size, size)
    label = f"{budget} {target} ({':'.join(filter(None, (model.name, model.options)))}, H {size})"
    if spec == first:
        return label, size, None
    if 2 * size > MOST_SIZES:
        raise ValueError(
            f"match={budget} would look through {2 * size:,} hidden sizes or more for {spec!r}, and at most"
            f" {MOST_SIZES:,} are; choose a smaller workload.hidden_size"
        )
    largest = min(reach(budget, cell, input_size, size, target), MOST_SIZES)
    sizes = [h for h in range(1, largest + 1) if unfit(cell, input_size, h) is None]
    if len(sizes) < 2:
        reason = next(filter(None, (unfit(cell, input_size, h) for h in (size, size + 1))))
        return label, size, f"cell {cell.name!r} has no hidden_size to choose for match={budget}: {reason}"

    def count(hidden_size: int) -> int:
        return BUDGETS[budget](cell, input_size, hidden_size)

    return label, closest(count, sizes, target, size, AT_ONCE.get(budget, len(sizes))), None


def reach(budget: str, cell: cells.GatedCell, input_size: int, size: int, target: int) -> int:
    """The largest size to look at: where doubling `size` first costs twice the target, or WIDEST times it."""
    largest = size
    while largest < WIDEST * size:
        largest *= 2
        fits = next((h for h in range(largest, 2 * largest) if unfit(cell, input_size, h) is None), None)
        if fits and BUDGETS[budget](cell, input_size, fits) >= 2 * target:
            return fits
    return largest


def closest(count: Callable[[int], int], sizes: Sequence[int], target: int, size: int, at_once: int) -> int:
    """The one of `sizes` whose count is closest to the target; of several the one closest to `size`.

    Counts need not grow with the size. Where there are more sizes than `at_once`, evenly spaced ones are
    counted, then those between the neighbours of the best.
    """
    step = -(-len(sizes) // at_once)
    candidates = sorted({*sizes[::step], sizes[-1], *([size] if size in sizes else [])})
    best = min(candidates, key=lambda h: (abs(count(h) - target), abs(h - size)))
    if step == 1:
        return best
    at, place = bisect_left(sizes, best), candidates.index(best)
    low = bisect_left(sizes, candidates[max(place - 1, 0)])
    high = bisect_left(sizes, candidates[min(place + 1, len(candidates) - 1)])
    return closest(count, sizes[min(low, at) : high + 1], target, size, at_once)


@cache
def input_of_task(spec: str | None, embedding_size: int | None = None) -> int | None:
    """Width of a task's inputs, for tokens that of their embedding; None without a task or its data."""
    if spec is None:
        return None
    try:
        data = tasks.draw(spec, np.random.default_rng(0))
        return embedding_size if data.vocabulary is not None else data.train.x.shape[2]
    except tasks.DataAbsent:
        return None
