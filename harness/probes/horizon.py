"""How long a delay does a cell learn to bridge, from which initialisation?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import ModuleType
from typing import Any, ClassVar

import numpy as np

from .. import task as tasks
from ..case import Case
from ..gradients import lag_profile
from ..gradients.cell.path import unfollowable
from ..probe import Emit, NotOk, Plan, Probe, Series, cell_of, series
from ._random_cell import Arrays, check_schemes

TESTED = 20  # updates between two tests
INPUTS = 6  # of the task


@dataclass(frozen=True)
class Horizon(Probe):
    """Delayed recall at several lengths: which seeds learn it within so many updates of Adam.

    Every update has fresh sequences.

    lengths    T
    schemes    initialisations, as cell.init takes them; in `chrono(T)` T is the length
    solved     at most 1 % of 1,000 test sequences wrong, tested every 20 updates; training ends there
    transport  the factor of the gradient's norm from the last state back to the one that has seen the cue, at
               the first parameters: median over sequences
    """

    timed: ClassVar[bool] = False
    backends: tuple[str, ...] = ("numba",)
    lengths: tuple[int, ...] = (20, 30, 40)
    schemes: tuple[str, ...] = ("torch", "orthogonal", "chrono(T)")
    updates: int = 600
    hidden_size: int = 32
    batch: int = 64
    learning_rate: float = 0.003
    max_norm: float = 1.0

    def __post_init__(self) -> None:
        if not self.lengths or any(
            isinstance(n, bool) or not isinstance(n, int) or n < 3 for n in self.lengths
        ):
            raise ValueError(
                f"horizon has lengths={list(self.lengths)}; give whole numbers of at least 3 steps"
            )
        if self.updates < TESTED:
            raise ValueError(
                f"horizon has updates={self.updates}; it tests every {TESTED}, so it needs at least {TESTED}"
            )
        check_schemes(self.name, tuple(at(s, max(self.lengths)) for s in self.schemes))

    def cases(self, plan: Plan) -> list[Case]:
        return [
            Case(
                self.name,
                c,
                b,
                plan.device,
                plan.dtype,
                plan.threads,
                steps=n,
                batch=self.batch,
                input_size=INPUTS,
                hidden_size=self.hidden_size,
                task=f"recall:steps={n}",
                seed=seed,
                variant=f"scheme={scheme}",
            )
            for c in plan.cells
            for b in self.backends or plan.backends
            for n in self.lengths
            for scheme in self.schemes
            for seed in plan.seeds
        ]

    def measure(self, case: Case, emit: Emit) -> tuple[Any, ...]:
        from ..learn import model as t

        try:
            scheme = at(case.variant.removeprefix("scheme="), case.steps)
            params = cell_of(case).init(INPUTS, case.hidden_size, case.seed, scheme)
        except ValueError as error:
            raise NotOk("unsupported", str(error)) from None
        implementation = t.check_backend(case)
        task: Any = tasks.get(case.task)  # one that draws fresh sequences
        rng = np.random.default_rng([case.seed, 1])
        data = tasks.draw(f"{case.task}:count=1", rng)
        transport = self.transport(case, params, task.draw(rng, 16).x)
        return implementation, [*self.train(t, case, params, task, data), *transport]

    def transport(self, case: Case, params: Arrays, x: np.ndarray) -> list[Series]:
        if unfollowable(cell_of(case)):
            return []
        profile = lag_profile(cell_of(case), params, x.swapaxes(0, 1).astype(np.float64))
        # where no state is the output, the last state has no gradient, and lag 1 is the first
        start = int(np.isneginf(profile.log_norm[0]).all())
        return [
            series("log_transport", "nats", float(np.median(profile.log_norm[-2] - profile.log_norm[start])))
        ]

    def train(self, t: ModuleType, case: Case, params: Arrays, task: Any, data: tasks.Data) -> list[Series]:
        import torch

        model = t.Model(case, params, data.output_size, case.seed)
        optimiser = torch.optim.Adam(model.parameters(), lr=self.learning_rate)
        rng = np.random.default_rng([case.seed, 2])
        error, step = math.nan, 0
        while step < self.updates and not error <= 0.01:  # a NaN has not solved it, and goes on
            batch = next(t.batches(task.draw(rng, self.batch), self.batch, case.device))
            optimiser.zero_grad(set_to_none=True)
            loss = t.loss_of(data, model(batch.x, batch.last), batch)
            loss.backward()
            norm = t.gradient_norm(model)
            if not math.isfinite(norm):
                raise NotOk(
                    "diverged", f"at step {step + 1} the loss is {float(loss)}, the gradient's norm {norm}"
                )
            t.scale_gradients(model, norm, self.max_norm)
            optimiser.step()
            step += 1
            if step % TESTED == 0:
                error = 1 - t.evaluate(model, data, self.batch)[1]
        solved = error <= 0.01
        return [
            series("solved", "1", solved),
            series("solved_step", "1", step if solved else math.nan),
            series("error_rate", "1", error),
            series("last_loss", "nats", float(loss.detach())),
        ]

    def estimate_s(self, case: Case) -> float:
        return 1.5 + 0.3e-3 * self.updates * case.steps / 2


def at(scheme: str, steps: int) -> str:
    """The scheme with T put in."""
    return scheme.replace("(T)", f"({steps})") if isinstance(scheme, str) else scheme
