"""How fast do small differences of the state grow or shrink, direction by direction?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..gradients import lyapunov_spectrum
from ..probe import NotOk, Probe, series
from ._random_cell import cases, check_schemes, driven


@dataclass(frozen=True)
class Spectrum(Probe):
    """Lyapunov exponents of the joint state in nats a step, largest first, driven by standard normal input; a
    seed is a sequence.

    k          how many, all where the state has no more. The sum rule, and mostly the dimension, need all
    steps      that are averaged over, after the `transient`
    schemes    initialisations, as cell.init takes them
    """

    k: int = 128
    steps: int = 500
    transient: int = 100
    schemes: tuple[str, ...] = ("torch",)

    def __post_init__(self):
        check_schemes(self.name, self.schemes)
        if self.steps < 20:
            raise ValueError(
                f"spectrum has steps={self.steps}; 20 batches give standard errors, so it must be at least 20"
            )

    def cases(self, plan):
        variants = [f"scheme={s}" for s in self.schemes]
        return cases(self.name, plan, variants, steps=self.steps + self.transient, batch=1)

    def measure(self, case, emit):
        cell, params, x = driven(case, case.variant.removeprefix("scheme="))
        size = sum(int(np.prod(shape)) for shape in cell.state_shapes(1, case.hidden_size).values())
        found = lyapunov_spectrum(cell, params, x, k=min(self.k, size), transient=self.transient)
        if np.isnan(found.exponents).any():
            raise NotOk(
                "diverged", f"the states are not finite within {case.steps} steps, so there are no exponents"
            )
        index = range(1, len(found.exponents) + 1)
        numbers = {
            "kaplan_yorke": found.kaplan_yorke,
            "entropy_rate": found.entropy_rate,
            "sum_residual": found.sum_residual,
        }
        units = {"kaplan_yorke": "1", "entropy_rate": "nats/step", "sum_residual": "nats/step"}
        return "float64 QR", [
            series("exponent", "nats/step", found.exponents, index),
            series("exponent_error", "nats/step", found.standard_error, index),
            *(
                series(name, units[name], np.nan if value is None else value)
                for name, value in numbers.items()
            ),
            series("state_size", "1", size),
        ]

    def estimate_s(self, case):
        return 1.5 + 3e-3 * case.steps
