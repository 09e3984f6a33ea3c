"""What does a number format make of the gradient on its way back?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from cellbench.cells.programs.formats import FORMATS

from ..case import Case
from ..gradients import precision
from ..probe import Emit, Plan, Probe, series
from ._random_cell import cases, check_schemes, driven
from .gradient_decay import known

LAGS = ("first_subnormal", "first_zero", "stuck", "off", "overflow")


@dataclass(frozen=True)
class Precision(Probe):
    """The plain adjoint of one sequence in each number format beside float64.

    It gives the norm by lag, the lags at which a format goes wrong, and the rate of the Jacobians as stored.

    dtypes    number formats; a variant each
    scheme    initialisation, as cell.init takes it
    Of several workload.steps the largest is taken.
    """

    timed: ClassVar[bool] = False
    dtypes: tuple[str, ...] = ("float64", "float32", "bfloat16", "float16")
    scheme: str = "torch"

    def __post_init__(self) -> None:
        check_schemes(self.name, (self.scheme,))
        bad = [d for d in self.dtypes if d not in FORMATS]
        if bad or not self.dtypes:
            raise ValueError(f"precision has dtypes={list(self.dtypes)}; it may have {', '.join(FORMATS)}")

    def cases(self, plan: Plan) -> list[Case]:
        return cases(self.name, plan, self.dtypes, steps=max(plan.steps), batch=1, dtype=None)

    def measure(self, case: Case, emit: Emit) -> tuple[Any, ...]:
        cell, params, x = driven(case, self.scheme, joint=True)
        result = precision(cell, params, x, dtypes=[case.variant])[case.variant]
        summed = "float64" if case.variant == "float64" else "float32"
        return f"{case.variant}, products summed in {summed}", [
            series("log_norm", "nats", result.log_norm, range(1, len(result.log_norm) + 1)),
            *(series(name, "1", known(getattr(result, name))) for name in LAGS),
            series("stored_rate", "nats/step", result.stored_rate),
        ]

    def estimate_s(self, case: Case) -> float:
        return 1.0 + 1e-3 * case.steps
