"""How far back does the gradient reach at initialisation?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cells import initial

from ..case import Case
from ..gradients import lag_profile
from ..probe import NotOk, Probe, cell_of, series


@dataclass(frozen=True)
class GradientDecay(Probe):
    """Norm of dL/d(joint state) by lag for one loss term at the last step, and its rate in nats a step.

    A property of a cell and its weights, so no backend takes part: the float64 adjoint, renormalised at every step.
    scheme      initialisation, as cell.init takes it
    sequences   standard normal input sequences
    Of several workload.steps the largest is taken; batch does not matter.
    """

    scheme: str = "torch"
    sequences: int = 16

    def __post_init__(self):
        initial.parse(self.scheme)

    def cases(self, plan):
        sizes = [(i, h) for i in plan.input_size for h in plan.hidden_size]
        return [
            Case(self.name, c, steps=max(plan.steps), batch=self.sequences, input_size=i, hidden_size=h, dtype="float64", seed=s)
            for c in plan.cells for i, h in sizes for s in plan.seeds
        ]  # fmt: skip

    def measure(self, case, emit):
        cell, rng = cell_of(case), np.random.default_rng(case.seed)
        try:
            params = cell.init(case.input_size, case.hidden_size, case.seed, self.scheme)
        except ValueError as error:
            raise NotOk("unsupported", str(error)) from None
        if cell.stacked:
            reason = f"cell {cell.name!r} has {cell.options}; the float64 adjoint is that of one layer in one direction"
            raise NotOk("unsupported", reason)
        profile = lag_profile(cell, params, rng.standard_normal((case.steps, case.batch, case.input_size)))
        logs, found = profile.log_norm, profile.rate
        if np.isnan(logs).any() or np.isposinf(logs).any():
            raise NotOk("diverged", f"the states are not finite within {case.steps} steps, so there is no gradient")
        return "float64 adjoint", [
            *(series("log_norm", "nats", logs[:, b], range(len(logs)), sample=b) for b in range(case.batch)),
            series("rate", "nats/step", found.value),
            series("rate_low", "nats/step", found.low),
            series("rate_high", "nats/step", found.high),
        ]

    def estimate_s(self, case):
        return 1.0 + 5e-4 * case.steps
