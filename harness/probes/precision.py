"""What does a number format make of the gradient on its way back?"""

from __future__ import annotations

from dataclasses import dataclass

from ..gradients import precision
from ..gradients.cell.precision import FORMATS
from ..probe import Probe, series
from ._random_cell import cases, check_schemes, driven
from .gradient_decay import known

LAGS = ("first_subnormal", "first_zero", "stuck", "off", "overflow")


@dataclass(frozen=True)
class Precision(Probe):
    """The plain adjoint of one sequence in each format beside float64: profile, lags at which it goes wrong,
    stored rate.

    dtypes    number formats; a variant each
    scheme    initialisation, as cell.init takes it
    Of several workload.steps the largest is taken.
    """

    dtypes: tuple[str, ...] = ("float64", "float32", "bfloat16", "float16")
    scheme: str = "torch"

    def __post_init__(self):
        check_schemes(self.name, (self.scheme,))
        bad = [d for d in self.dtypes if d not in FORMATS]
        if bad or not self.dtypes:
            raise ValueError(f"precision has dtypes={list(self.dtypes)}; it may have {', '.join(FORMATS)}")

    def cases(self, plan):
        return cases(self.name, plan, self.dtypes, steps=max(plan.steps), batch=1, dtype=None)

    def measure(self, case, emit):
        cell, params, x = driven(case, self.scheme)
        found = precision(cell, params, x, dtypes=[case.variant])[case.variant]
        return (
            f"{case.variant}, products summed in {'float64' if case.variant == 'float64' else 'float32'}",
            [
                series("log_norm", "nats", found.log_norm, range(1, len(found.log_norm) + 1)),
                *(series(name, "1", known(getattr(found, name))) for name in LAGS),
                series("stored_rate", "nats/step", found.stored_rate),
            ],
        )

    def estimate_s(self, case):
        return 1.0 + 1e-3 * case.steps
