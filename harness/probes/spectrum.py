"""How fast do small differences of the state grow or shrink, direction by direction?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..case import Case
from ..gradients import lyapunov_spectrum
from ..probe import Emit, NotOk, Plan, Probe, series
from ._random_cell import cases, check_schemes, driven


@dataclass(frozen=True)
class Spectrum(Probe):
    """Lyapunov exponents of the joint state in nats a step, largest first.

    The joint state is all states of the cell side by side, driven by standard normal input. A seed is a
    sequence.

    k          how many, all where the state has no more. The sum rule, and mostly the dimension, need all
    steps      that are averaged over, after the `transient`
    schemes    initialisations, as cell.init takes them
    """

    timed: ClassVar[bool] = False
    k: int = 128
    steps: int = 500
    transient: int = 100
    schemes: tuple[str, ...] = ("torch",)

    def __post_init__(self) -> None:
        check_schemes(self.name, self.schemes)
        if self.steps < 20:
            raise ValueError(
                f"spectrum has steps={self.steps}; 20 batches give standard errors, so it must be at least 20"
            )

    def cases(self, plan: Plan) -> list[Case]:
        variants = [f"scheme={s}" for s in self.schemes]
        return cases(self.name, plan, variants, steps=self.steps + self.transient, batch=1)

    def measure(self, case: Case, emit: Emit) -> tuple[Any, ...]:
        cell, params, x = driven(case, case.variant.removeprefix("scheme="), joint=True)
        size = sum(int(np.prod(shape)) for shape in cell.state_shapes(1, case.hidden_size).values())
        result = lyapunov_spectrum(cell, params, x, k=min(self.k, size), transient=self.transient)
        if np.isnan(result.exponents).any():
            raise NotOk(
                "diverged", f"the states are not finite within {case.steps} steps, so there are no exponents"
            )
        index = range(1, len(result.exponents) + 1)
        numbers = (
            ("kaplan_yorke", "1", result.kaplan_yorke),
            ("entropy_rate", "nats/step", result.entropy_rate),
            ("sum_residual", "nats/step", result.sum_residual),
        )
        return "float64 QR", [
            series("exponent", "nats/step", result.exponents, index),
            series("exponent_error", "nats/step", result.standard_error, index),
            *(series(name, unit, np.nan if value is None else value) for name, unit, value in numbers),
            series("state_size", "1", size),
        ]

    def estimate_s(self, case: Case) -> float:
        return 1.5 + 3e-3 * case.steps
