"""A cell's file at a revision against the one of the working tree, as the two sides of a comparison."""

from __future__ import annotations

import inspect
from dataclasses import replace
from operator import methodcaller
from pathlib import Path
from typing import Any

from cellbench import cells
from cellbench.cells import find
from cellbench.cells.programs.formats import FORMATS

from ..case import Case
from ..functions.function import GateError
from ..measure.pair import Pair
from ..regress import two_sides
from ..regress.base import Base
from ..regress.beside import make

SIZES = {"steps": 100, "batch": 8, "input_size": 32, "hidden_size": 64}
CHOICES = {"backend": "numba", "direction": "forward", "dtype": "float32", "device": "cpu"}

__tracebackhide__ = methodcaller("errisinstance", GateError)


def spec_of(cell: Any) -> str:
    """path/to/file.py:Name with options, the path absolute. Raises GateError without a file.

    The cell may be its class too.
    """
    if inspect.isclass(cell) and issubclass(cell, cells.GatedCell):
        cell = f"{inspect.getfile(cell)}:{cell.__qualname__}"
    path = find.path_of(cell) if isinstance(cell, str) else None
    if path is None:
        raise GateError(f"{cell!r} is no cell of a file; give path/to/file.py:Name, or its class")
    match = find.BY_PATH.fullmatch(cell)
    assert match
    return f"{path}{cell[match.end('file') :]}"


def sizes(given: dict[str, Any]) -> dict[str, Any]:
    """The case's columns, with what was not given. Raises GateError for an unknown or an impossible one."""
    known = SIZES | CHOICES
    for name, value in given.items():
        if name not in known:
            raise GateError(
                f"unknown {name!r}{find.nearest(name, known)} a cell is compared by {', '.join(known)}"
            )
        if name in SIZES and not (isinstance(value, int) and value > 0):
            raise GateError(f"{name} is {value!r}; it must be a whole number of at least 1")
        allowed = {
            "direction": ("forward", "backward"),
            "dtype": tuple(FORMATS),
            "device": ("cpu", "cuda"),
        }
        if name in allowed and value not in allowed[name]:
            raise GateError(f"{name} is {value!r}; it must be one of {', '.join(allowed[name])}")
    return known | given


def run_once(spec: str, case: dict[str, Any]) -> None:
    """Computes and checks the cell in this process."""
    two_sides.build(two_sides.Side(Case("throughput", spec, **case)))


def pair(spec: str, case: dict[str, Any], base: Base) -> Pair:
    """The cell at the revision, and now; in cellbench's own repository each with its revision of `cells`."""
    path = find.path_of(spec)
    assert path
    old = base.counterpart(path)
    if old is None:
        raise GateError(f"{path} lies outside of {base.repository}: no revision of it has another")
    root = base.place if base.counterpart(Path(cells.__file__).resolve()) else None
    now = two_sides.Side(Case("throughput", spec, **case))
    before = two_sides.Side(replace(now.case, spec=f"{old}{spec[len(str(path)) :]}"), root)
    return Pair(
        f"{path.relative_to(base.repository)}{spec[len(str(path)) :]} against {base.name}",
        make,
        (before, now, base),
    )
