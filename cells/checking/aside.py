"""Arrays that were left aside as none of the cell's: a port whose outputs depend on one is another cell."""

from __future__ import annotations

import numpy as np

from ..programs.tolerance import relative_error
from .layout import Layout
from .port import Port
from .returned import Returned
from .words import role


def used_aside(port: Port, layout: Layout) -> str | None:
    """What an array left aside does, in words; None where outputs and states do not depend on any."""
    names = [name for name in layout.ignored if not _kept_state(port, layout, name)]
    if not names or not _moves(port, names):
        return None
    used = [name for name in names if _moves(port, [name])] or names
    values = {name: np.unique(port.arrays[name]) for name in used}
    now = [
        f"{name} (now {value[0]:g} everywhere)" if len(value) == 1 else name for name, value in values.items()
    ]
    it = "it is" if len(used) == 1 else "they are"
    equal = f": equal only while {it} so" if all(len(value) == 1 for value in values.values()) else ""
    return f"computes with {' and '.join(now)}, which is no array of the cell{equal}; leave it out"


def _kept_state(port: Port, layout: Layout, name: str) -> bool:
    """Whether an object that is no module keeps its state in it."""
    module = bool(port.implementation.kinds) or port.implementation.in_float64 is not None
    return not module and role(name, layout.cell) in (*layout.cell.states, "state")


def _moves(port: Port, names: list[str]) -> bool:
    """Whether other values in these arrays change what is computed."""
    rng = np.random.default_rng(port.trial.seed)
    other = port.holding({n: port.arrays[n] + rng.normal(size=port.arrays[n].shape) for n in names})
    if not isinstance(other.tried(), Returned):
        return True
    before, after = port.outputs, other.outputs
    pairs = [(after.output, before.output), *((after.state[k], v) for k, v in before.state.items())]
    return not all(relative_error(value, was) <= port.tolerance for value, was in pairs)
