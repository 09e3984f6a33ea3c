"""How far does a computation drift from float64 as sequences get longer, in each number format?"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from cellbench.cells.programs.formats import TF32, stored
from cellbench.cells.programs.tolerance import relative_errors, tolerance

from ..case import Case
from ..probe import Emit, NotOk, Plan, Probe, Series, series
from ..programs import arrays, check, inputs, prepare, reference, unwarned

FORMATS = ("float32", TF32, "bfloat16", "float16")
FACTOR = 4  # from one length to the next
ROUNDED = "operands of products rounded to tf32, sums in float32"


@dataclass(frozen=True)
class ErrorGrowth(Probe):
    """Largest error of any array against the float64 reference over T, a case for each number format.

    T are the powers of 4 below the largest workload.steps, and that itself. Arrays are outputs, last states
    and, in the direction backward, gradients. The formats are float32, tf32, bfloat16 and float16, whatever
    dtype says. No CPU has tf32: there backend torch rounds the operands of products, as a GPU does.
    """

    timed: ClassVar[bool] = False

    def cases(self, plan: Plan) -> list[Case]:
        longest = max(plan.steps)
        runs = [case for case in plan.runs(self.name) if case.steps == longest]
        return [replace(case, dtype=dtype, variant=dtype) for case in runs for dtype in FORMATS]

    def measure(self, case: Case, emit: Emit) -> tuple[Any, ...]:
        return growth(case, lambda: emit((case.id, [])))

    def estimate_s(self, case: Case) -> float:
        return 1.0 + 1e-2 * case.steps


def growth(case: Case, alive: Callable[[], object] = lambda: None) -> tuple[str, list[Series]]:
    """What ran, and two series over T: the largest error, and the tolerance that is stated for T.

    Raises NotOk where the case cannot run, or at some T is off by more than is allowed.
    """
    points = lengths(case.steps)
    errors: list[float] = []
    ran = ""
    for steps in points:
        try:
            ran, error = largest_error(replace(case, steps=steps))
        except NotOk as stop:
            reason = f"at T = {steps}: {stop.reason}" if stop.status == "wrong" else stop.reason
            raise NotOk(stop.status, reason, over(points, errors, case.dtype)) from None
        errors.append(error)
        alive()  # so that a silence longer than case_timeout_s is a hang
    return ran, over(points, errors, case.dtype)


def lengths(steps: int) -> list[int]:
    """1, 4, 16, ... below steps, and steps."""
    shorter = [1]
    while shorter[-1] * FACTOR < steps:
        shorter.append(shorter[-1] * FACTOR)
    return [length for length in shorter if length < steps] + [steps]


def over(points: list[int], errors: list[float], dtype: str) -> list[Series]:
    """The series over the lengths that were reached."""
    done = points[: len(errors)]
    return [
        series("error", "1", errors, done),
        series("tolerance", "1", [tolerance(dtype, steps) for steps in done], done),
    ]


def largest_error(case: Case) -> tuple[str, float]:
    """What ran, and the largest error of any array relative to its largest entry."""
    given = inputs(case)
    expected = reference(given, case)
    program = prepare(replace(case, dtype=stored(case.dtype)) if rounds_itself(case) else case, given.params)
    with unwarned(), products(case):
        program.load(given.x, None, given.d_output)
        program.run()
        program.sync()
    result = program.read()
    check(result, given, case, expected=expected)
    errors = relative_errors(arrays(*result), expected, case.steps)
    ran = [program.implementation, *([ROUNDED] if rounds_itself(case) else [])]
    return ", ".join(ran), max(errors.values())


def rounds_itself(case: Case) -> bool:
    """Whether it is of tf32, without the matrix units of a GPU: the operands are rounded here."""
    return (case.dtype, case.device, case.backend) == (TF32, "cpu", "torch")


def products(case: Case) -> AbstractContextManager[Any]:
    """Within, products of torch are those of the case's format."""
    if not rounds_itself(case):
        return nullcontext()
    from ._rounded_products import RoundedProducts

    return RoundedProducts()
