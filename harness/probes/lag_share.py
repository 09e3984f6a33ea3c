"""Which lags does the gradient of the recurrent weights come from?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..gradients import lag_share
from ..probe import NotOk, Probe, series
from ._random_cell import cases, check_schemes, driven


@dataclass(frozen=True)
class LagShare(Probe):
    """Shares of the lags in the gradient of `parameter`, for a loss at the last step, and k95.

    parameter   an array of the cell; first: weight_hh, or what a cell without it has in its place
    sequences   standard normal input sequences
    schemes     initialisations, as cell.init takes them
    Of several workload.steps the largest is taken.
    """

    parameter: str = "first"
    sequences: int = 16
    schemes: tuple[str, ...] = ("torch",)

    def __post_init__(self):
        check_schemes(self.name, self.schemes)

    def cases(self, plan):
        return cases(
            self.name,
            plan,
            [f"scheme={s}" for s in self.schemes],
            steps=max(plan.steps),
            batch=self.sequences,
        )

    def measure(self, case, emit):
        cell, params, x = driven(case, case.variant.removeprefix("scheme="))
        try:
            found = lag_share(
                cell, params, x, parameter=None if self.parameter == "first" else self.parameter
            )
        except ValueError as error:
            raise NotOk("unsupported", str(error)) from None
        if np.isnan(found.signed).any():
            raise NotOk(
                "diverged", f"the gradient of {found.parameter} is 0 or not finite, so it has no shares"
            )
        return f"float64 adjoint, {found.parameter}", [
            *(
                series(name, "1", getattr(found, name), found.lag)
                for name in ("signed", "unsigned", "cancellation")
            ),
            series("k95", "1", found.k95),
            series("parameter_log_norm", "nats", found.log_norm),
        ]

    def estimate_s(self, case):
        return 1.5 + 5e-3 * case.steps
