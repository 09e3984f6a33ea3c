"""What does gradient clipping do? Descent on the temporal order problem, with and without it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .. import task as tasks
from ..case import Case
from ..gradients import total_norm
from ..gradients.training.bias import FEWEST, clipping_bias
from ..probe import Emit, NotOk, Plan, Probe, Series, cell_of, series
from ._clipping_ways import Pulled, Puller, Way, flat
from ._random_cell import Arrays, check_numbers

if TYPE_CHECKING:
    import torch

    from ..learn.model import Batch, Model

TESTED = 50  # updates between two tests
WINDOW = 100  # steps before, whose median and spread say what a spike of the loss is
STILL = 20  # steps whose median must be back under that median
WITHIN = 100  # steps in which a loss must come back


@dataclass(frozen=True)
class Clipping(Probe):
    """Set-up of Pascanu et al. 2013 (arXiv 1211.5063): SGD, sequences of 20, W_hh at spectral radius 1.2.

    The radius is that of each gate's block: its square part of W_hh.

    thresholds         of norm clipping; 0 means none
    values             of value clipping: the largest entry of any gradient
    state_thresholds   of the norm of each sample's dL/d(joint state), all states side by side, at every step;
                       always on numpy, whose backward is stepped
    minibatches        over which E[clip g] is held against E[g], at the first parameters; at least 4
    optimiser          sgd or adam; for adam a learning_rate of about 0.003 suits
    solved             at most 1 % of 1,000 test sequences wrong, tested every 50 steps
    A step whose gradient is not finite is counted and left out, clipped or not. The update is measured as it
    was made: under Adam it does not follow the gradient's norm.
    """

    timed: ClassVar[bool] = False
    backends: tuple[str, ...] = ()
    thresholds: tuple[float, ...] = (0.0, 1.0, 0.1)
    values: tuple[float, ...] = ()
    state_thresholds: tuple[float, ...] = ()
    minibatches: int = 40
    optimiser: str = "sgd"
    steps: int = 20
    updates: int = 500
    hidden_size: int = 50
    batch: int = 20
    learning_rate: float = 0.1
    spectral_radius: float = 1.2

    def __post_init__(self) -> None:
        if self.updates < TESTED:
            raise ValueError(
                f"clipping has updates={self.updates}; it tests every {TESTED}, so it needs at least {TESTED}"
            )
        if not self.thresholds or any(
            isinstance(v, bool) or not isinstance(v, (int, float)) or v < 0 for v in self.thresholds
        ):
            raise ValueError(
                f"clipping has thresholds={list(self.thresholds)}; give norms of at least 0 (0: no clipping)"
            )
        for name in ("values", "state_thresholds"):
            check_numbers(self.name, name, getattr(self, name), least=1e-300)
        if self.optimiser not in ("sgd", "adam"):
            raise ValueError(f"clipping has optimiser={self.optimiser!r}; it must be sgd or adam")
        if self.minibatches < FEWEST:
            raise ValueError(
                f"clipping has minibatches={self.minibatches}; an interval needs at least {FEWEST}"
            )
        tasks.get(self.task)

    @property
    def task(self) -> str:
        return f"temporal_order:steps={self.steps}"

    def cases(self, plan: Plan) -> list[Case]:
        plain = [f"max_norm={v or 'none'}" for v in self.thresholds] + [f"max_value={v}" for v in self.values]
        by_backend = dict.fromkeys(self.backends or plan.backends, plain)
        stepped = [f"max_state={v}" for v in self.state_thresholds]
        if stepped:
            by_backend["numpy"] = by_backend.get("numpy", []) + stepped
        return [
            Case(
                self.name,
                c,
                b,
                plan.device if b in (self.backends or plan.backends) else "cpu",
                plan.dtype,
                plan.threads,
                steps=self.steps,
                batch=self.batch,
                input_size=6,
                hidden_size=self.hidden_size,
                task=self.task,
                seed=s,
                variant=v,
            )
            for c in plan.cells
            for b, variants in by_backend.items()
            for s in plan.seeds
            for v in variants
        ]

    def measure(self, case: Case, emit: Emit) -> tuple[Any, ...]:
        from ..learn import model as t

        way = Way.of(case.variant)
        implementation = t.check_backend(case)
        data = tasks.draw(case.task, np.random.default_rng([case.seed, 1]))
        model = t.Model(case, self.params(case), data.output_size, case.seed)
        puller = Puller(model, way)
        bias = self.bias(t, puller, data, case)
        return implementation, [*bias, *self.descend(t, puller, data, case)]

    def params(self, case: Case) -> Arrays:
        """Torch's initialisation with zero biases and each recurrent block scaled to the spectral radius."""
        params = cell_of(case).init(case.input_size, case.hidden_size, case.seed)
        if "weight_hh" not in params or params["weight_hh"].shape[1] != case.hidden_size:
            reason = (
                f"cell {cell_of(case).name!r} has no full recurrent matrix whose spectral radius could be set"
            )
            raise NotOk("unsupported", reason)
        blocks = params["weight_hh"].reshape(-1, case.hidden_size, case.hidden_size)
        for block in blocks:
            block *= self.spectral_radius / np.max(np.abs(np.linalg.eigvals(block)))
        return {k: np.zeros_like(v) if k.startswith("bias") else v for k, v in params.items()}

    def batches(self, t: ModuleType, data: tasks.Data, case: Case, stream: int) -> Iterator[Batch]:
        """Minibatches without end; of each stream others."""
        rng = np.random.default_rng([case.seed, stream])
        while True:
            yield from t.batches(data.train, self.batch, case.device, rng)

    def bias(self, t: ModuleType, puller: Puller, data: tasks.Data, case: Case) -> list[Series]:
        """How clipping turns and shortens the expected gradient, before the first update."""
        pulled = [
            puller.pull(data, batch) for batch in islice(self.batches(t, data, case, 3), self.minibatches)
        ]
        raw, kept = (np.stack([flat(getattr(p, which)) for p in pulled]) for which in ("raw", "kept"))
        bias = clipping_bias(raw, kept)
        return [
            series(f"bias_{name}{ending}", "1", getattr(getattr(bias, name), end))
            for name in ("cosine", "ratio")
            for ending, end in (("", "value"), ("_low", "low"), ("_high", "high"))
        ]

    def descend(self, t: ModuleType, puller: Puller, data: tasks.Data, case: Case) -> list[Series]:
        import torch

        model, kind = puller.model, torch.optim.Adam if self.optimiser == "adam" else torch.optim.SGD
        optimiser = kind(model.parameters(), lr=self.learning_rate)
        pulled: list[Pulled] = []
        moved: list[float] = []
        errors: list[float] = []
        for batch in islice(self.batches(t, data, case, 2), self.updates):
            one = puller.pull(data, batch)
            moved.append(self.update(model, optimiser, one) if one.finite else math.nan)
            pulled.append(replace(one, raw={}, kept={}))  # the gradients themselves would fill the memory
            if len(pulled) % TESTED == 0:
                errors.append(1 - t.evaluate(model, data, self.batch * 10)[1])
        return self.summary(pulled, np.array(moved), errors)

    def update(self, model: Model, optimiser: torch.optim.Optimizer, pulled: Pulled) -> float:
        """Makes the step and returns its length, over all parameters."""
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        for name, p in model.named_parameters():
            p.grad = pulled.kept.get(name)
        optimiser.step()
        return total_norm([p.detach() - before[name] for name, p in model.named_parameters()])

    def summary(self, pulled: list[Pulled], moved: np.ndarray, errors: list[float]) -> list[Series]:
        losses, steps = np.array([p.loss for p in pulled]), range(1, len(pulled) + 1)
        finite = [p for p in pulled if p.finite]
        norms, kept = math.fsum(p.norm for p in finite), math.fsum(p.kept_norm for p in finite)
        solved = [k for k, e in enumerate(errors, 1) if e <= 0.01]
        back = recoveries(losses)
        return [
            series("loss", "nats", losses, steps),
            series("gradient_norm", "1", [p.norm for p in pulled], steps),
            series("update_norm", "1", moved, steps),
            series("clipped_fraction", "1", mean([p.clipped for p in finite])),
            series("lost_impulse", "1", 1 - kept / norms if norms else math.nan),
            series("angle", "rad", mean([p.angle for p in finite if p.clipped and math.isfinite(p.angle)])),
            series("update_per_gradient", "1", float(np.nansum(moved)) / norms if norms else math.nan),
            series("spikes", "1", spikes(losses)),
            series("recovery_steps", "1", np.median(back) if back else math.nan),
            series("unrecovered", "1", int(np.isinf(back).sum())),
            series("nonfinite_steps", "1", len(pulled) - len(finite)),
            series("error_rate", "1", errors[-1]),
            series("solved", "1", errors[-1] <= 0.01),
            series("solved_step", "1", TESTED * solved[0] if solved and errors[-1] <= 0.01 else math.nan),
        ]

    def estimate_s(self, case: Case) -> float:
        each = 0.02 if case.variant.startswith("max_state") else 0.004
        return 0.5 + (self.updates + self.minibatches) * each


def mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else math.nan


def spikes(losses: np.ndarray, window: int = WINDOW) -> int:
    """Steps whose loss lies far above those of the window before."""
    return sum(is_spike(losses, k, window) for k in range(window, len(losses)))


def is_spike(losses: np.ndarray, k: int, window: int = WINDOW) -> bool:
    """Whether it is above the window's median by more than ten median absolute deviations."""
    before = losses[k - window : k]
    median = np.median(before)
    return bool(losses[k] > median + 10 * np.median(np.abs(before - median)))


def recoveries(losses: np.ndarray, window: int = WINDOW, within: int = WITHIN) -> list[float]:
    """For each spike: steps until the median of the next 20 losses is back under that before the spike.

    inf where that takes more than `within` steps; a spike so near the end that it cannot be told is left out.
    The next spike is looked for where the last one ended.
    """
    steps, k = [], window
    while k < len(losses):
        if not is_spike(losses, k, window):
            k += 1
            continue
        level, last = np.median(losses[k - window : k]), min(within, len(losses) - STILL - k)
        took = next(
            (float(n) for n in range(1, last + 1) if np.median(losses[k + n : k + n + STILL]) <= level),
            np.inf,
        )
        if np.isfinite(took) or last == within:
            steps.append(took)
        k += int(took) if np.isfinite(took) else within
    return steps
