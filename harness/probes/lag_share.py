"""Which lags does the gradient of the recurrent weights come from?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from cellbench import cells
from cellbench.cells import find

from ..case import Case
from ..gradients import lag_share
from ..probe import Emit, NotOk, Plan, Probe, series
from ._random_cell import cases as cases_of
from ._random_cell import check_schemes, driven

RECURRENT = "weight_hh"


@dataclass(frozen=True)
class LagShare(Probe):
    """Shares of the lags in the gradient of `parameter`, for a loss at the last step.

    The lag is how many steps a state lies before the last. k95 is the smallest lag within which 95 % of the
    gradient arises.

    parameter   an array of the cell; first: weight_hh, or what a cell without it has in its place
    sequences   standard normal input sequences
    schemes     initialisations, as cell.init takes them
    Of several workload.steps the largest is taken.
    """

    timed: ClassVar[bool] = False
    parameter: str = "first"
    sequences: int = 16
    schemes: tuple[str, ...] = ("torch",)

    def __post_init__(self) -> None:
        check_schemes(self.name, self.schemes)

    def cases(self, plan: Plan) -> list[Case]:
        self._check_parameter(plan)
        return cases_of(
            self.name,
            plan,
            [f"scheme={s}" for s in self.schemes],
            steps=max(plan.steps),
            batch=self.sequences,
        )

    def _check_parameter(self, plan: Plan) -> None:
        """Raises ValueError for an array that no cell of the plan has."""
        known = ["first", RECURRENT]  # which a cell may derive from stored ones
        for cell in map(cells.get, plan.cells):
            if cell.unfit(plan.input_size[0], plan.hidden_size[0]):
                return  # its arrays cannot be told
            known += [*cell.parameter_shapes(plan.input_size[0], plan.hidden_size[0]), *cell.vectors]
        if self.parameter not in known:
            raise ValueError(
                f"lag_share has parameter={self.parameter!r}{find.nearest(self.parameter, known)}"
                f" arrays: {', '.join(dict.fromkeys(known))}"
            )

    def measure(self, case: Case, emit: Emit) -> tuple[Any, ...]:
        cell, params, x = driven(case, case.variant.removeprefix("scheme="))
        try:
            parameter = None if self.parameter == "first" else self.parameter
            share = lag_share(cell, params, x, parameter=parameter)
        except ValueError as error:
            raise NotOk("unsupported", str(error)) from None
        if np.isnan(share.signed).any():
            raise NotOk(
                "diverged", f"the gradient of {share.parameter} is 0 or not finite, so it has no shares"
            )
        return f"float64 adjoint, {share.parameter}", [
            *(
                series(name, "1", getattr(share, name), share.lag)
                for name in ("signed", "unsigned", "cancellation")
            ),
            series("k95", "1", share.k95),
            series("parameter_log_norm", "nats", share.log_norm),
        ]

    def estimate_s(self, case: Case) -> float:
        return 1.5 + 5e-3 * case.steps
