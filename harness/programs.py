"""Programs prepared, and held against the float64 reference before they are timed.

Training is checked at its longest T.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cellbench import cells
from cellbench.cells.programs.backend import Crashed, Unsupported
from cellbench.cells.programs.formats import FORMATS, rounded
from cellbench.cells.programs.program import Forward, Gradients, Program
from cellbench.cells.programs.tolerance import TIMES, relative_errors, tolerance, unfit, when_moved
from cellbench.cells.vocabulary.primitives import changed

from .case import Case
from .probe import NotOk, Series, series


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
        k: rounded(v, case.dtype) for k, v in cell.init(case.input_size, case.hidden_size, seed=seed).items()
    }
    shape, width = (case.steps, case.batch), cell.output_size(case.input_size, case.hidden_size)
    x = rounded(rng.standard_normal((*shape, case.input_size)), case.dtype)
    return Inputs(params, x, rounded(rng.standard_normal((*shape, width)), case.dtype), lengths)


def prepare(
    case: Case, params: dict[str, np.ndarray], lengths: np.ndarray | None = None, library: Any = cells
) -> Program:
    """The case's program. Raises NotOk: unavailable, unsupported, crashed or mismatch."""
    cell, backend = library.get(case.spec), library.backend(case.backend)
    if reason := backend.unavailable(case.device):
        raise NotOk("unavailable", reason)
    if reason := backend.unsupported(cell, case.dtype, case.device, case.direction):
        raise NotOk("unsupported", reason)
    try:
        program = backend.prepare(
            cell,
            params,
            steps=case.steps,
            batch=case.batch,
            dtype=case.dtype,
            device=case.device,
            direction=case.direction,
            lengths=lengths,
        )
    except Unsupported as error:
        raise NotOk("unsupported", str(error)) from None
    except Crashed as error:
        raise NotOk("crashed", str(error)) from None
    # a revision from before there was this word may have made the program
    mismatch = getattr(program, "mismatch", None)
    if mismatch and (reason := mismatch()):
        raise NotOk("mismatch", reason)
    return program


def checked(case: Case, given: Inputs) -> Program:
    """The case's program, loaded and held against the float64 reference. Raises NotOk."""
    program = prepare(case, given.params)
    program.load(given.x, None, given.d_output)
    with unwarned():
        program.run()
        check(program.read(), given, case)
    return program


def unwarned() -> np.errstate:
    """Within, NumPy warns of no overflow: `check` tells by a status what is not finite."""
    return np.errstate(over="ignore", invalid="ignore", divide="ignore")


def predicted(case: Case) -> tuple[list[Series], str | None]:
    """The time of a run on CUDA that the backend predicts, as a series with its line; nothing without one."""
    if case.device != "cuda":
        return [], None
    sizes = {name: getattr(case, name) for name in ("steps", "batch", "input_size", "hidden_size")}
    of = cells.backend(case.backend).predicted(
        cells.get(case.spec), **sizes, dtype=case.dtype, direction=case.direction
    )
    return ([], None) if of is None else ([series("predicted_s", "s", of.seconds)], of.line)


@contextmanager
def beside_prediction(case: Case) -> Iterator[tuple[list[Series], str | None]]:
    """What `predicted` says; where the block ends without a result, it stands in that row."""
    more, line = predicted(case)
    try:
        yield more, line
    except NotOk as stop:
        reason = "; ".join(filter(None, (stop.reason, line)))
        raise NotOk(stop.status, reason, [*stop.series, *more]) from None


def reference(
    given: Inputs, case: Case, library: Any = cells, dtype: str = "float64"
) -> dict[str, np.ndarray]:
    """Output, states and gradients by name, in float64 from the same arrays."""
    cell = library.get(case.spec)
    program = library.backend(getattr(cell, "reference", "numpy")).prepare(
        cell,
        given.params,
        steps=case.steps,
        batch=case.batch,
        dtype=dtype,
        direction=case.direction,
        lengths=given.lengths,
    )
    program.load(given.x, None, given.d_output if case.direction == "backward" else None)
    program.run()
    return arrays(*program.read())


def check(
    result: tuple[Forward, Gradients | None],
    given: Inputs,
    case: Case,
    library: Any = cells,
    expected: dict[str, np.ndarray] | None = None,
) -> tuple[float, float]:
    """(error, tolerance) of the array that comes nearest to its own.

    `expected` is what `reference` says, where that is known already. Raises NotOk with status wrong, naming
    the array.
    """
    expected, actual = expected or reference(given, case, library), arrays(*result)
    if missing := set(expected) ^ set(actual):
        raise NotOk("wrong", f"{min(missing)} is on one side only: the program's, or the float64 reference's")
    if reason := _beyond(actual, expected, case.dtype):
        raise NotOk("unsupported", reason)
    errors = relative_errors(actual, expected, case.steps)
    allowed = dict.fromkeys(errors, tolerance(case.dtype, case.steps))
    # a module is its own reference, in float64: its arithmetic is what is tried, and allows nothing
    of_equations = getattr(library.get(case.spec), "reference", "numpy") == "numpy"
    may_allow_more = of_equations or FORMATS[case.dtype].narrow
    within = all(errors[name] <= allowed[name] for name in errors)
    if not within and (no_reference := unfit(expected, lambda: reference(given, case, library))):
        raise NotOk("wrong", no_reference)
    for times in TIMES if may_allow_more else ():
        if not all(errors[name] <= allowed[name] for name in errors):
            more = allowed_when_moved(expected, given, case, times, library)
            allowed |= {name: max(allowed[name], value) for name, value in more.items()}
    # max alone would pass over a NaN, which compares as False
    excess = {name: errors[name] / allowed[name] for name in errors}
    name = max(excess, key=lambda name: np.inf if np.isnan(excess[name]) else excess[name])
    if not errors[name] <= allowed[name]:  # NaN is wrong too
        raise NotOk("wrong", _wrong(name, errors[name], allowed[name], actual[name], case.dtype))
    return errors[name], allowed[name]


def _beyond(actual: dict[str, np.ndarray], expected: dict[str, np.ndarray], dtype: str) -> str:
    """Why the result is not finite, where the format cannot hold what float64 has; else empty."""
    if all(np.isfinite(array).all() for array in actual.values()):
        return ""
    sizes = {name: float(np.abs(array).max(initial=0)) for name, array in expected.items()}
    name = max(sizes, key=lambda name: sizes[name])
    largest = FORMATS[dtype].largest
    if not largest < sizes[name] < np.inf:
        return ""
    return (
        f"{name} reaches {sizes[name]:.2g} in float64, and the largest number of {dtype} is {largest:.2g};"
        " take fewer steps, or a dtype of a larger range"
    )


def allowed_when_moved(
    expected: dict[str, np.ndarray], given: Inputs, case: Case, times: int, library: Any = cells
) -> dict[str, float]:
    """By name, the error that is allowed as rounding moves the reference's equations."""

    def compute(params: dict[str, np.ndarray], x: np.ndarray, dtype: str) -> dict[str, np.ndarray]:
        return reference(replace(given, params=params, x=x), case, library, dtype)

    times = times // 2 if FORMATS[case.dtype].narrow else times
    how = {"steps": case.steps, "dtype": case.dtype, "times": times, "changed": changed}
    return when_moved(compute, given.params, given.x, expected, **how)


def _wrong(name: str, error: float, allowed: float, array: np.ndarray, dtype: str) -> str:
    form = FORMATS[dtype]
    if form.narrow and not np.isfinite(array).all():
        return (
            f"{name} is not finite in {dtype}, whose largest number is {form.largest:.3g}, and finite in"
            " float64; run it with dtype=float32"
        )
    return (
        f"{name} is off the float64 reference by {error:.2g} of its largest entry; {allowed:.2g} is allowed"
        + (f" in {dtype}" if form.narrow else "")
    )


def arrays(out: Forward, grads: Gradients | None) -> dict[str, np.ndarray]:
    """All arrays of a result by name."""
    named = {"output": out.output} | {f"state {k}": v for k, v in out.state.items()}
    if grads is not None:
        named |= {f"d_{k}": v for k, v in grads.params.items()} | {"d_x": grads.x}
        named |= {f"d_state {k}": v for k, v in grads.state.items()}
    return named
