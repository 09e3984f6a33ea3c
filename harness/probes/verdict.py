"""Has a network converged, or has its gradient vanished? Networks of every condition, with the evidence."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .. import task as tasks
from ..case import Case
from ..gradients import diagnose
from ..probe import Emit, NotOk, Plan, Probe, Series, cell_of, series
from ._random_cell import Arrays

if TYPE_CHECKING:
    from ..gradients import Diagnosis
    from ..learn.model import Model

KINDS = ("stuck", "solved", "started", "exploding", "shut", "dead_head", "parity")
INPUTS, CLASSES = 6, 4


@dataclass(frozen=True)
class Conditions(Probe):
    """`diagnose` on delayed recall (the cue at the first of `steps`), for networks in a known condition.

    stuck      torch's initialisation, trained
    solved     an initialisation that reaches (chrono where a gate keeps the state, else orthogonal), trained
               until it has learned
    started    the same, not trained
    exploding  orthogonal recurrent matrices of gain `gain` (4 times that where a gate keeps the state), no
               noise, not trained
    shut       every bias 30 but that of the keep gate, not trained
    dead_head  as started, with a sigmoid answer at -40
    parity     as started, on the parity of two cues: nothing that a single input could tell
    Adam, clipped at norm 1, by the case's backend. The diagnosis is of the same parameters, stepped in
    float64.
    """

    timed: ClassVar[bool] = False
    backends: tuple[str, ...] = ("numba",)
    kinds: tuple[str, ...] = KINDS
    steps: int = 40
    hidden_size: int = 32
    batch: int = 64
    updates: int = 150
    most_updates: int = 800
    samples: int = 512
    learning_rate: float = 0.003
    gain: float = 3.0

    def __post_init__(self) -> None:
        bad = [k for k in self.kinds if k not in KINDS]
        if bad or not self.kinds:
            raise ValueError(f"verdict has kinds={list(self.kinds)}; it may have {', '.join(KINDS)}")
        if self.steps < 8:
            raise ValueError(f"verdict has steps={self.steps}; it needs at least 8")

    def cases(self, plan: Plan) -> list[Case]:
        return [
            Case(
                self.name,
                c,
                b,
                plan.device,
                plan.dtype,
                plan.threads,
                steps=self.steps,
                batch=self.batch,
                input_size=INPUTS,
                hidden_size=self.hidden_size,
                task=f"recall:steps={self.steps}",
                seed=s,
                variant=kind,
            )
            for c in plan.cells
            for b in self.backends or plan.backends
            for kind in self.kinds
            for s in plan.seeds
        ]

    def measure(self, case: Case, emit: Emit) -> tuple[Any, ...]:
        from ..learn import model as t
        from ..learn.one_step import unsteppable

        if reason := unsteppable(cell_of(case)):
            raise NotOk("unsupported", reason)
        implementation = t.check_backend(case)
        model = t.Model(case, self.params(case), CLASSES, case.seed)
        if case.variant in ("stuck", "solved"):
            self.train(t, model, case)
        return implementation, *self.told(self.diagnosis(t, model, case))

    def params(self, case: Case) -> Arrays:
        cell, sizes = cell_of(case), (INPUTS, case.hidden_size)
        reaching = f"chrono({self.steps})" if cell.keep_gate else "orthogonal"
        gain = self.gain * (4 if cell.keep_gate else 1)
        scheme = {"stuck": "torch", "shut": "torch", "exploding": f"orthogonal({gain:g})"}.get(
            case.variant, reaching
        )
        try:
            params = cell.init(*sizes, case.seed, scheme)
        except ValueError as error:
            raise NotOk("unsupported", str(error)) from None
        if case.variant == "shut":
            if "bias_ih" not in params:
                raise NotOk("unsupported", f"cell {cell.name!r} has no bias_ih that could shut it")
            keeping = cell.gates.index(cell.keep_gate) if cell.keep_gate in cell.gates else None
            by_gate = params["bias_ih"].reshape(len(cell.gates), -1) if keeping is not None else None
            kept = None if by_gate is None else by_gate[keeping].copy()
            params["bias_ih"][:] = 30.0
            if by_gate is not None:
                by_gate[keeping] = kept
        return params

    def draw(self, case: Case, rng: np.random.Generator, count: int) -> tasks.Sequences:
        """x (N, T, 6), y; parity: of the cues at steps 0 and 3, 0 or 1."""
        quiet = ":noise=0.0" if case.variant == "exploding" else ""
        task: Any = tasks.get(case.task + quiet)  # one that draws fresh sequences
        drawn = task.draw(rng, count)
        if case.variant != "parity":
            return drawn
        second = rng.integers(0, CLASSES, count)
        drawn.x[np.arange(count), 3, second] = 1
        return replace(drawn, y=(drawn.y + second) % 2)

    def train(self, t: ModuleType, model: Model, case: Case) -> None:
        import torch

        optimiser = torch.optim.Adam(model.parameters(), lr=self.learning_rate)
        rng, running = np.random.default_rng([case.seed, 2]), math.nan
        solving = case.variant == "solved"
        for _ in range(self.most_updates if solving else self.updates):
            batch = next(t.batches(self.draw(case, rng, self.batch), self.batch, case.device))
            optimiser.zero_grad(set_to_none=True)
            loss = torch.nn.functional.cross_entropy(model(batch.x, batch.last), batch.y)
            loss.backward()
            t.scale_gradients(model, t.gradient_norm(model), 1.0)
            optimiser.step()
            value = float(loss.detach())
            running = value if math.isnan(running) else 0.9 * running + 0.1 * value
            if solving and running < 0.01:
                break

    def diagnosis(self, t: ModuleType, model: Model, case: Case) -> Diagnosis:
        from torch.nn.functional import cross_entropy, mse_loss, one_hot

        from ..learn.one_step import CellStep

        dead = case.variant == "dead_head"
        bias = model.head_bias * 0 - 40 if dead else model.head_bias
        net = CellStep(cell_of(case), dict(model.cell.items()), model.head_weight, bias, squashed=dead).cpu()
        drawn = self.draw(case, np.random.default_rng([case.seed, 4]), self.samples)
        pairs = [
            (b.x, one_hot(b.y, CLASSES).to(b.x.dtype) if dead else b.y)
            for b in t.batches(drawn, self.batch, "cpu")
        ]
        seen = {"stuck": self.updates, "solved": self.most_updates}.get(case.variant, 0) * self.batch
        return diagnose(
            net, mse_loss if dead else cross_entropy, pairs, samples=self.samples, samples_seen=max(seen, 1e6)
        )

    def told(self, diagnosis: Diagnosis) -> tuple[list[Series], str]:
        """(series, the verdict's line)."""
        evidence, verdict = diagnosis.evidence, diagnosis.verdict
        lags = (np.nan, np.nan) if verdict.lag is None else np.broadcast_to(verdict.lag, 2)
        by_lag = {
            "transport": (evidence.transport, "nats"),
            "recoverable": (diagnosis.recoverable, "1"),
            "swap": (diagnosis.swap, "1"),
        }
        numbers = {
            "last_loss": diagnosis.loss,
            "trivial_loss": diagnosis.trivial_loss,
            "gradient_norm": diagnosis.gradient_norm,
            "saturation": diagnosis.saturation,
            "source": evidence.source,
            "lag_low": lags[0],
            "lag_high": lags[1],
        }
        return [
            series(f"label.{verdict.label}", "1", 1),
            series(f"qualifier.{verdict.qualifier}", "1", 1),
            *(series(name, "1", value) for name, value in numbers.items()),
            *(series(name, unit, values, range(len(values))) for name, (values, unit) in by_lag.items()),
        ], str(verdict)

    def estimate_s(self, case: Case) -> float:
        updates = {"stuck": self.updates, "solved": self.most_updates / 2}.get(case.variant, 0)
        return 3 + updates * 3e-4 * self.steps / 2
