"""A cell of a person's file at a base and now, as the two sides of a pair in one process."""

from __future__ import annotations

import sys
from collections.abc import Callable

from ..measure.timing import Timed
from ..probe import NotOk
from . import two_sides
from .base import Base, refuse_mixture


def make(a: two_sides.Side, b: two_sides.Side, base: Base) -> tuple[Callable[[], Timed], Callable[[], Timed]]:
    """Runs in the worker. Raises NotOk, also where the revision has no such cell."""
    loaded = set(sys.modules)
    try:
        old = two_sides.build(a)
    except ValueError as error:
        raise NotOk("no baseline", f"at {base.name}: {' '.join(str(error).split())[:300]}") from None
    # cellbench itself may load more of its own meanwhile: the cell's side of it is there under another name
    refuse_mixture(loaded, base, f"the cell at {base.name}", known=("cellbench",))
    return old, two_sides.build(b)
