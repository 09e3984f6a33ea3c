"""How far back does the gradient reach at initialisation?"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

import numpy as np

from ..case import Case
from ..gradients import lag_profile
from ..probe import Emit, NotOk, Plan, Probe, Series, cell_of, series
from ._random_cell import cases, check_numbers, check_schemes, driven

SCHEME = "scheme="


@dataclass(frozen=True)
class GradientDecay(Probe):
    """Norm of dL/d(joint state) by lag for one loss term at the last step, and its rate in nats a step.

    The joint state is all states of the cell side by side. The lag is how many steps it lies before the last.

    schemes        initialisations, as cell.init takes them
    backends       numpy: the float64 adjoint (the gradient's way back), renormalised at every step. Any
                   other: the states' gradients as that backend computes them in the run's dtype, so that
                   they over- and underflow as they do there
    sequences      standard normal input sequences
    gains, biases  a map of the rate, by default none. The recurrent matrices are gain times orthogonal ones;
                   `bias` is that of the gate that keeps the state, or of all gates where none does
    Of several workload.steps the largest is taken; batch does not matter.
    """

    timed: ClassVar[bool] = False
    schemes: tuple[str, ...] = ("torch",)
    backends: tuple[str, ...] = ("numpy",)
    sequences: int = 16
    gains: tuple[float, ...] = ()
    biases: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        check_schemes(self.name, self.schemes)
        check_numbers(self.name, "gains", self.gains, least=0)
        check_numbers(self.name, "biases", self.biases)

    def cases(self, plan: Plan) -> list[Case]:
        size = {"steps": max(plan.steps), "batch": self.sequences}
        decays = []
        for backend in self.backends or plan.backends:
            computed = {
                "backend": backend,
                "dtype": "float64" if backend == "numpy" else plan.dtype,
                "device": "cpu",
            }
            decays += cases(self.name, plan, [SCHEME + s for s in self.schemes], **size, **computed)
        return decays + cases(self.name, plan, self.points(), **size)

    def points(self) -> list[str]:
        """Variants of the map: 'gain=1.2', 'bias=2' or 'gain=1.2, bias=2'."""
        axes = [
            [f"{name}={v:g}" for v in values]
            for name, values in (("gain", self.gains), ("bias", self.biases))
            if values
        ]
        return [", ".join(point) for point in product(*axes)] if axes else []

    def measure(self, case: Case, emit: Emit) -> tuple[Any, ...]:
        if not case.variant.startswith(SCHEME):
            return "float64 adjoint", self.point(case)
        cell, params, x = driven(case, case.variant.removeprefix(SCHEME))
        try:
            profile = lag_profile(cell, params, x, backend=case.backend, dtype=case.dtype)
        except ValueError as error:
            raise NotOk("unsupported", str(error)) from None
        logs, rate = profile.log_norm, profile.rate
        # an overflow of float32 is a result; in float64 the states themselves are not finite
        if np.isnan(logs).any() or (case.dtype == "float64" and np.isposinf(logs).any()):
            raise NotOk(
                "diverged",
                f"in {case.dtype} something is not finite within {case.steps} steps, so there is no gradient",
            )
        return "float64 adjoint" if case.backend == "numpy" else f"{case.backend} {case.dtype} trajectory", [
            *(series("log_norm", "nats", logs[:, b], range(len(logs)), sample=b) for b in range(case.batch)),
            series("rate", "nats/step", rate.value),
            series("rate_low", "nats/step", rate.low),
            series("rate_high", "nats/step", rate.high),
            series(f"model.{rate.model}", "1", 1),
            series("half_life", "1", known(profile.half_life)),
            series("first_zero", "1", known(profile.first_zero)),
        ]

    def point(self, case: Case) -> list[Series]:
        """Gain, bias (NaN where it is not varied) and the rate there."""
        at = {name: float(v) for name, v in (axis.split("=") for axis in case.variant.split(", "))}
        cell = cell_of(case)
        shapes = cell.parameter_shapes(case.input_size, case.hidden_size)
        if not all(any(n.startswith(array) for n in shapes) for array in ("weight_hh", "bias_ih")):
            raise NotOk(
                "unsupported",
                f"cell {cell.name!r} has no weight_hh and bias_ih, over which the rate is mapped",
            )
        schemes = [f"orthogonal({at['gain']:g})"] if "gain" in at else []
        schemes += [f"forget_bias({at['bias']:g})"] if "bias" in at and cell.keep_gate else []
        cell, params, x = driven(case, *schemes)
        if "bias" in at and not cell.keep_gate:
            # bias_hh is 0, as both are added: the sum is the bias of the map
            params |= {
                n: np.full_like(a, at["bias"] * n.startswith("bias_ih"))
                for n, a in params.items()
                if n.startswith("bias_")
            }
        rate = lag_profile(cell, params, x).rate
        return [
            series("gain", "1", at.get("gain", np.nan)),
            series("bias", "1", at.get("bias", np.nan)),
            series("mapped_rate", "nats/step", rate.value),
            series("mapped_rate_low", "nats/step", rate.low),
            series("mapped_rate_high", "nats/step", rate.high),
        ]

    def estimate_s(self, case: Case) -> float:
        return (1.0 if case.variant.startswith(SCHEME) else 0.2) + 5e-4 * case.steps


def known(value: float | None) -> float:
    """NaN where there is none."""
    return np.nan if value is None else float(value)
