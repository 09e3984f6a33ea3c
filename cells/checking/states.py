"""How many states a port takes, where it does not take those of the cell."""

from __future__ import annotations

from typing import Any

import numpy as np

from .calling import Way

MOST = 6  # states that are tried


def other_number(way: Way, held: dict[str, Any], x: Any, state: dict[str, Any]) -> str | None:
    """What a port that takes another number of states takes, in words; None where that is not so.

    x is (T, B, I), and each state (B, H); they are those of the cell, with which it could not be called.
    """
    cell = way.cell
    if not way.takes_state:
        return None
    like = next(iter(state.values()))
    x = x if way.call.sequence else x[0]
    if way.call.axes == "batch_first":
        x = x.swapaxes(0, 1)
    counts = [*range(2, MOST + 1), 1]  # one array may be unpacked too, into its sequences
    for count in counts:
        if count == len(cell.states):
            continue
        given = {f"state {k}": like for k in range(count)}
        try:
            with np.errstate(all="ignore"):
                result = way.result(held, x, given)
        except Exception:  # somebody's code: this was not the number
            continue
        if hasattr(result, "shape") or isinstance(result, tuple | list | dict):
            return _words(count, cell.name, cell.states)
    return None


def _words(count: int, cell: str, names: tuple[str, ...]) -> str:
    """It takes so many states, and the cell has others."""
    takes = f"{count} state{'s' * (count > 1)}"
    return f"it takes {takes}, and cell {cell!r} has {len(names)} ({', '.join(names)})"
