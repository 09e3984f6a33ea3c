"""A cell with drawn weights, driven by standard normal input, for probes of the gradient at the start."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from cellbench.cells import GatedCell
from cellbench.cells.derived import init
from cellbench.cells.programs.joint import unsupported

from ..case import Case
from ..gradients.cell.path import unfollowable
from ..probe import NotOk, Plan, cell_of

Arrays = dict[str, np.ndarray]


def cases(probe: str, plan: Plan, variants: Iterable[str], **columns: Any) -> list[Case]:
    """A case for each cell, pair of sizes, variant and seed. Columns may name a backend."""
    sizes = [(i, h) for i in plan.input_size for h in plan.hidden_size]
    columns = {"dtype": "float64"} | columns
    return [
        Case(probe, c, input_size=i, hidden_size=h, seed=s, variant=v, **columns)
        for c in plan.cells
        for i, h in sizes
        for v in variants
        for s in plan.seeds
    ]


def driven(case: Case, *schemes: str, joint: bool = False) -> tuple[GatedCell, Arrays, np.ndarray]:
    """The cell, its parameters and x (T, B, I), all from the case's seed.

    Of several schemes each adds the arrays that it sets. joint says that a stack needs a joint
    state. Raises NotOk where it has none, and for a scheme that the cell cannot have.
    """
    cell, rng = cell_of(case), np.random.default_rng(case.seed)
    if reason := unfollowable(cell) or (unsupported(cell) if joint else None):
        raise NotOk("unsupported", reason)
    sizes = (case.input_size, case.hidden_size)
    params = cell.init(*sizes, case.seed)
    plain = params  # an array that a scheme leaves as torch draws it is not one that it sets
    for scheme in schemes:
        try:
            drawn = cell.init(*sizes, case.seed, scheme)
        except ValueError as error:
            raise NotOk("unsupported", str(error)) from None
        params = params | {name: a for name, a in drawn.items() if not np.array_equal(a, plain[name])}
    return cell, params, rng.standard_normal((case.steps, case.batch, case.input_size))


def check_schemes(probe: str, schemes: tuple[str, ...]) -> None:
    """Raises ValueError for a list of schemes that names none, or one that there is not."""
    if not schemes or not all(isinstance(s, str) for s in schemes):
        raise ValueError(f"{probe} has schemes={list(schemes)}; give names such as torch or orthogonal(1.2)")
    for scheme in schemes:
        init.parse(scheme)


def check_numbers(probe: str, name: str, values: tuple[float, ...], least: float = -np.inf) -> None:
    """Raises ValueError for what is no list of finite numbers from `least` on."""
    bad = [
        v
        for v in values
        if isinstance(v, bool) or not isinstance(v, (int, float)) or not least <= v < np.inf or v == -np.inf
    ]
    if bad:
        above = "" if least == -np.inf else f" of at least {least:g}"
        raise ValueError(f"{probe} has {name}={list(values)}; give finite numbers{above}")
