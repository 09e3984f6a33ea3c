"""A cell whose new states are multiplied by matrices that make them narrower, as one of equations alone.

Its states are all as wide as the units, and its matrices square, as kernels have them. Padded with zeros, the
arrays and states of the narrower cell give the same numbers, and zeros beside them.
"""

from __future__ import annotations

from dataclasses import fields
from functools import lru_cache
from typing import Any

from ..contract import Equations, State

# of the narrower cell's class, which equations alone do not need
WRITTEN = ("step", "writes", "recorded", "shapes", "state_shapes", "emitted", "unfit")


def widened(cell: Equations) -> Any:
    """The cell with its `projections` as products of the step, with square matrices of the same names."""
    of: Any = type(cell)  # which mypy takes for nothing that can be hashed
    kind = _kind(of, tuple(cell.projections.items()), cell.name)
    return kind(**{field.name: getattr(cell, field.name) for field in fields(cell)})


@lru_cache
def _kind(kind: Any, projections: tuple[tuple[str, str], ...], name: str) -> Any:
    def equations(self: Any, wx: State, wh: State, prev: State, *unit: Any, **_: Any) -> State:
        own = unit if kind.vectors or kind.matrices else ()
        new = kind.equations(self, wx, wh, prev, *own)
        narrower = {state: getattr(unit[-1], matrix)(getattr(new, state)) for state, matrix in projections}
        return State(**{**vars(new), **narrower})

    body = {member: vars(Equations)[member] for member in WRITTEN} | {
        "equations": equations,
        "matrices": (*kind.matrices, *(matrix for _, matrix in projections)),
        "projections": {},
        "name": name,
        "__module__": __name__,
    }
    return type(kind.__name__, (kind,), body)
