"""Programs prepared, and held against the float64 reference before they are timed.

Training is checked at its longest T.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cellbench import cells
from cellbench.cells.programs.program import Forward, Gradients, Program
from cellbench.cells.programs.tolerance import relative_errors, tolerance

from .case import Case
from .probe import NotOk


@dataclass(frozen=True)
class Inputs:
    """Arrays that a program is checked and timed with, in the case's dtype.

    lengths are those of the sequences of a ragged batch, else None.
    """

    params: dict[str, np.ndarray]
    x: np.ndarray
    d_output: np.ndarray
    lengths: np.ndarray | None = None


def inputs(case: Case, seed: int = 0, lengths: np.ndarray | None = None, library: Any = cells) -> Inputs:
    """Torch-initialised parameters, and standard normal x (T, B, I) and d_output (T, B, O).

    Here and below, library is the package `cells`, or another revision of it.
    """
    cell, rng = library.get(case.spec), np.random.default_rng(seed)
    params = {
        k: v.astype(case.dtype) for k, v in cell.init(case.input_size, case.hidden_size, seed=seed).items()
    }
    shape, width = (case.steps, case.batch), cell.output_size(case.input_size, case.hidden_size)
    x = rng.standard_normal((*shape, case.input_size)).astype(case.dtype)
    return Inputs(params, x, rng.standard_normal((*shape, width)).astype(case.dtype), lengths)


def prepare(
    case: Case, params: dict[str, np.ndarray], lengths: np.ndarray | None = None, library: Any = cells
) -> Program:
    """The case's program. Raises NotOk with status unavailable or unsupported."""
    cell, backend = library.get(case.spec), library.backend(case.backend)
    if reason := backend.unavailable(case.device):
        raise NotOk("unavailable", reason)
    if reason := backend.unsupported(cell, case.dtype, case.device, case.direction):
        raise NotOk("unsupported", reason)
    return backend.prepare(
        cell,
        params,
        steps=case.steps,
        batch=case.batch,
        dtype=case.dtype,
        device=case.device,
        direction=case.direction,
        lengths=lengths,
    )


def error_of(
    result: tuple[Forward, Gradients | None], given: Inputs, case: Case, library: Any = cells
) -> tuple[float, str]:
    """The largest error of output, states and gradients against float64, and the array that it is in."""
    cell = library.get(case.spec)
    reference = library.backend(getattr(cell, "reference", "numpy")).prepare(
        cell,
        given.params,
        steps=case.steps,
        batch=case.batch,
        dtype="float64",
        direction=case.direction,
        lengths=given.lengths,
    )
    reference.load(given.x, None, given.d_output if case.direction == "backward" else None)
    reference.run()
    expected = arrays(*reference.read())
    actual = arrays(*result)
    if missing := set(expected) ^ set(actual):
        return float("nan"), min(missing)
    errors = relative_errors(actual, expected, case.steps)
    # max alone would pass over a NaN, which compares as False
    worst = max(errors, key=lambda name: np.inf if np.isnan(errors[name]) else errors[name])
    return errors[worst], worst


def check(
    result: tuple[Forward, Gradients | None], given: Inputs, case: Case, library: Any = cells
) -> tuple[float, float]:
    """(error, tolerance). Raises NotOk with status wrong, naming the array."""
    allowed = tolerance(case.dtype, case.steps)
    error, name = error_of(result, given, case, library)
    if not error <= allowed:  # NaN is wrong too
        raise NotOk(
            "wrong",
            f"{name} is off the float64 reference by {error:.2g} of its largest entry; {allowed:.2g} is"
            " allowed",
        )
    return error, allowed


def arrays(out: Forward, grads: Gradients | None) -> dict[str, np.ndarray]:
    """All arrays of a result by name."""
    named = {"output": out.output} | {f"state {k}": v for k, v in out.state.items()}
    if grads is not None:
        named |= {f"d_{k}": v for k, v in grads.params.items()} | {"d_x": grads.x}
        named |= {f"d_state {k}": v for k, v in grads.state.items()}
    return named
