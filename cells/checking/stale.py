"""Variants of a cell that take a state's old value where the equations take the new one."""

from __future__ import annotations

import copy
import linecache
import sys
from collections.abc import Iterator
from functools import cache
from typing import Any

from torch.overrides import TorchFunctionMode

from ..cell import GatedCell
from ..contract import State, output_and_state
from .variants import Variant, at_zero

Use = tuple[int, int]  # a call of the equations, by number, and which of its arguments


class _Calls(TorchFunctionMode):
    """The calls of a step's equations: their arguments and their lines."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[tuple[tuple[Any, ...], str]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.made.append((args, _line()))
        return func(*args, **(kwargs or {}))


def _line() -> str:
    """The line of the equations from which a function is called."""
    frame: Any = sys._getframe(2)
    while frame is not None and frame.f_code.co_name != "equations":
        frame = frame.f_back
    return linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip() if frame else ""


class _Old(TorchFunctionMode):
    """Gives the calls in `uses` the old value."""

    def __init__(self, uses: set[Use], old: Any) -> None:
        super().__init__()
        self.uses, self.old, self.count = uses, old, 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        call, self.count = self.count, self.count + 1
        taken = (self.old if (call, k) in self.uses else arg for k, arg in enumerate(args))
        return func(*taken, **(kwargs or {}))


def stale(cell: GatedCell) -> Iterator[Variant]:
    """The cell with the old value in each place that takes a new state, and in all of a state's places."""
    if not cell.writes("equations"):
        return
    for name, places in _places(cell).items():
        several = [list(places)] if len(places) > 1 else []
        for lines in [[line] for line in places] + several:
            uses = {use for line in lines for use in places[line]}
            where = " and ".join(f"`{line}`" for line in lines)
            yield Variant(
                _with_old(cell, name, uses),
                (f"the old {name} where {where} has the new one",),
                (f"compute {name} first, and take the new {name} there",),
                arrays=lambda params: params,  # the reference program would run the cell's own equations
            )


def _with_old(cell: GatedCell, name: str, uses: set[Use]) -> GatedCell:
    """The cell whose equations get the old state in some places."""
    other = copy.copy(cell)

    def equations(wx: State, wh: State, prev: State, *unit: Any) -> Any:
        with _Old(uses, getattr(prev, name)):
            return cell.equations(wx, wh, prev, *unit)

    vars(other)["equations"] = equations
    return other


@cache
def _places(cell: GatedCell) -> dict[str, dict[str, set[Use]]]:
    """For each state the lines that take its new value, with the calls in them."""
    (used, x, prev), calls = at_zero(cell), _Calls()
    wx, wh = cell.project(used, x), cell.recur(used, prev)
    with calls:
        result = cell.equations(wx, wh, prev, *cell.per_unit(used))
    _, new = output_and_state(cell, result)
    places: dict[str, dict[str, set[Use]]] = {}
    for name in cell.states:
        value = getattr(new, name)
        for call, (args, line) in enumerate(calls.made):
            for k, arg in enumerate(args):
                if arg is value:
                    places.setdefault(name, {}).setdefault(line, set()).add((call, k))
    return places
