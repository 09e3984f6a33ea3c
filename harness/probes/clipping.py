"""What does gradient clipping do? Plain gradient descent on the temporal order problem, with and without it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .. import task as tasks
from ..case import Case
from ..probe import NotOk, Probe, cell_of, series


@dataclass(frozen=True)
class Clipping(Probe):
    """Set-up of Pascanu et al. 2013 (arXiv 1211.5063): SGD, sequences of 20, W_hh at spectral radius 1.2 (each gate's block).

    thresholds   of norm clipping; 0 means none
    solved       at most 1 % of 1,000 test sequences wrong, tested every 50 steps
    A step whose gradient is not finite is counted and left out, clipped or not.
    """

    backends: tuple[str, ...] = ()
    thresholds: tuple[float, ...] = (0.0, 1.0, 0.1)
    steps: int = 20
    updates: int = 500
    hidden_size: int = 50
    batch: int = 20
    learning_rate: float = 0.1
    spectral_radius: float = 1.2

    def __post_init__(self):
        if self.updates < 50:
            raise ValueError(f"clipping has updates={self.updates}; it tests every 50, so it needs at least 50")
        if not self.thresholds or any(isinstance(v, bool) or not isinstance(v, (int, float)) or v < 0 for v in self.thresholds):
            raise ValueError(f"clipping has thresholds={list(self.thresholds)}; give norms of at least 0 (0: no clipping)")
        tasks.get(self.task)

    @property
    def task(self):
        return f"temporal_order:steps={self.steps}"

    def cases(self, plan):
        return [
            Case(
                self.name, c, b, plan.device, plan.dtype, plan.threads, steps=self.steps, batch=self.batch,
                input_size=6, hidden_size=self.hidden_size, task=self.task, seed=s,
                variant=f"max_norm={threshold or 'none'}",
            )
            for c in plan.cells for b in self.backends or plan.backends for s in plan.seeds for threshold in self.thresholds
        ]  # fmt: skip

    def measure(self, case, emit):
        from .. import training as t

        text = case.variant.partition("=")[2]
        threshold = math.inf if text == "none" else float(text)
        implementation = t.check_backend(case)
        data = tasks.get(case.task).data(np.random.default_rng([case.seed, 1]))
        model = t.Model(case, self.params(case), data.output_size, case.seed)
        return implementation, self.descend(t, model, data, case, threshold)

    def params(self, case):
        """Torch's initialisation with zero biases and each recurrent block scaled to the spectral radius."""
        params = cell_of(case).init(case.input_size, case.hidden_size, case.seed)
        if "weight_hh" not in params or params["weight_hh"].shape[1] != case.hidden_size:
            reason = f"cell {cell_of(case).name!r} has no full recurrent matrix whose spectral radius could be set"
            raise NotOk("unsupported", reason)
        blocks = params["weight_hh"].reshape(-1, case.hidden_size, case.hidden_size)
        for block in blocks:
            block *= self.spectral_radius / np.max(np.abs(np.linalg.eigvals(block)))
        return {k: np.zeros_like(v) if k.startswith("bias") else v for k, v in params.items()}

    def descend(self, t, model, data, case, threshold):
        import torch

        optimiser = torch.optim.SGD(model.parameters(), lr=self.learning_rate)
        rng = np.random.default_rng([case.seed, 2])
        losses: list[float] = []
        norms: list[float] = []
        errors: list[float] = []
        while len(losses) < self.updates:
            for batch in t.batches(data.train, self.batch, case.device, rng):
                optimiser.zero_grad(set_to_none=True)
                loss = t.loss_of(data, model(batch.x, batch.last), batch)
                loss.backward()
                losses.append(float(loss.detach()))
                norms.append(t.gradient_norm(model))
                if math.isfinite(norms[-1]) and math.isfinite(losses[-1]):
                    t.scale_gradients(model, norms[-1], threshold)
                    optimiser.step()
                if len(losses) % 50 == 0:
                    errors.append(1 - t.evaluate(model, data, self.batch * 10)[1])
                if len(losses) == self.updates:
                    break
        return self.summary(losses, norms, errors, threshold)

    def summary(self, losses, norms, errors, threshold):
        finite = np.isfinite(losses) & np.isfinite(norms)
        steps = range(1, len(losses) + 1)
        solved = [k for k, e in enumerate(errors, 1) if e <= 0.01]
        return [
            series("loss", "nats", losses, steps), series("gradient_norm", "1", norms, steps),
            series("clipped_fraction", "1", float(np.mean(np.asarray(norms)[finite] > threshold)) if finite.any() else math.nan),
            series("spikes", "1", spikes(np.asarray(losses))), series("nonfinite_steps", "1", int(np.sum(~finite))),
            series("error_rate", "1", errors[-1]), series("solved", "1", errors[-1] <= 0.01),
            series("solved_step", "1", 50 * solved[0] if solved and errors[-1] <= 0.01 else math.nan),
        ]  # fmt: skip

    def estimate_s(self, case):
        return 1.5 + self.updates * 0.004


def spikes(losses: np.ndarray, window: int = 100) -> int:
    """Steps whose loss is above the median of the window before by more than ten median absolute deviations."""
    count = 0
    for k in range(window, len(losses)):
        before = losses[k - window : k]
        median = np.median(before)
        count += bool(losses[k] > median + 10 * np.median(np.abs(before - median)))
    return count
