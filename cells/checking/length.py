"""A right port is run longer: the steps double until there are many, or a second of computing has passed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ..programs.tolerance import relative_error
from .compare import Candidate, Comparison, Row, compared
from .plain import named
from .port import Port
from .returned import Returned

LONGEST, SECONDS = 200, 1.0
LARGEST = 1e30  # float32 has none much larger
CHAOTIC = 1e-2  # of the largest entry, by which one rounding of the input moves the reference
SLACK = 16  # times what rounding the input once does to the reference: a step rounds about as often


def longer(comparison: Comparison, clock: Callable[[], float] = time.process_time) -> Comparison:
    """The comparison over as many steps as there is time for; the same where the port fixes its steps."""
    port, start = comparison.port, clock()
    while (more := _twice_as_long(port)) is not None and clock() - start < SECONDS / 2:
        port = more
    if port is comparison.port:
        return comparison
    longest = compared(replace(comparison.candidate, port=port))
    expected = longest.candidate.expected
    if not all(np.abs(v).max(initial=0) < LARGEST for v in (expected.output, *expected.state.values())):
        return comparison  # the reference overflows itself
    if longest.first is None:
        return longest
    moved = moved_by_rounding(longest.candidate)
    forgiven = _forgiven(longest, moved)
    # where rounding alone moves a gradient so far, how far two computations part is chance
    chance = any(moved.get(row.name, 0.0) > CHAOTIC for row in forgiven.rows if not row.ok)
    return comparison if chance else forgiven


def _twice_as_long(port: Port) -> Port | None:
    """The port over twice the steps, or None where these are too many or it cannot be run over them."""
    steps = 2 * port.trial.steps
    if port.implementation.steps is not None or steps > LONGEST:
        return None
    numpy = port.implementation.library == "numpy"  # its gradients would take two runs for each entry
    more = replace(port, trial=replace(port.trial, steps=steps), forward_only=numpy)
    return more if isinstance(more.tried(), Returned) else None


def _forgiven(comparison: Comparison, moved: dict[str, float]) -> Comparison:
    """The comparison where what deviates no more than rounding makes the reference itself deviate is right.

    A network may be chaotic: then no two computations agree over many steps.
    """
    rows = tuple(_forgive(row, moved.get(row.name, 0.0)) for row in comparison.rows)
    return replace(comparison, rows=rows, first=None if all(row.ok for row in rows) else comparison.first)


def _forgive(row: Row, moved: float) -> Row:
    allowed = max(row.tolerance, SLACK * moved)
    return replace(row, tolerance=allowed, ok=bool(row.error <= allowed))  # NaN is no agreement


def moved_by_rounding(candidate: Candidate) -> dict[str, float]:
    """How far each array of the reference moves where its input is rounded once more."""
    port = candidate.port
    x, eps = port.problem.x, float(np.finfo(port.dtype).eps)
    signs = np.random.default_rng(0).choice([-1, 1], x.shape)
    near = port.starting(port.problem.state)
    vars(near)["problem"] = replace(port.problem, x=x * (1 + eps * signs))
    here, there = (named(replace(candidate, port=p).expected) for p in (port, near))
    return {name: relative_error(there[name], value) for name, value in here.items()}
