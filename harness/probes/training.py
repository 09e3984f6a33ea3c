"""How long does a cell take to train on each backend, and what does it reach?"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np

from .. import task as tasks
from ..case import Case
from ..measure.timing import collector_off
from ..probe import NotOk, Probe, cell_of, series


@dataclass(frozen=True)
class Training(Probe):
    """Adam with gradients clipped by norm, from torch's initialisation; the same for every cell and backend.

    backends        which to train on; empty means all of the run's
    embedding_size  width of the inputs where a task's are tokens
    loss, elapsed   are recorded at every step; elapsed counts training only, not the tests after each epoch
    """

    backends: tuple[str, ...] = ()
    hidden_size: int = 64
    embedding_size: int = 32
    batch: int = 64
    epochs: int = 6
    learning_rate: float = 0.003
    max_norm: float = 1.0

    def cases(self, plan):
        return [
            Case(
                self.name, c, b, plan.device, plan.dtype, plan.threads, batch=self.batch, hidden_size=self.hidden_size,
                task=t, seed=s,
            )
            for t in plan.tasks for c in plan.cells for s in plan.seeds for b in self.backends or plan.backends
        ]  # fmt: skip

    def measure(self, case, emit):
        from .. import training as t

        try:
            data = tasks.draw(case.task, np.random.default_rng([case.seed, 1]))
        except tasks.DataAbsent as absent:
            raise NotOk("skipped", str(absent)) from None
        input_size = data.train.x.shape[2] if data.vocabulary is None else self.embedding_size
        sized = replace(case, steps=data.train.x.shape[1], input_size=input_size)
        if reason := cell_of(case).unfit(input_size, case.hidden_size):
            raise NotOk("unsupported", reason)
        implementation = t.check_backend(sized)
        params = cell_of(case).init(input_size, case.hidden_size, case.seed)
        model = t.Model(sized, params, data.output_size, case.seed, data.shape, data.vocabulary)
        emit((case.id, self.aims(data)))
        return implementation, self.train(t, model, data, case, emit)

    def aims(self, data):
        chance = [] if data.classes is None else [series("chance_accuracy", "1", data.chance_accuracy)]
        unit = self.unit(data)
        return [series("trivial_loss", unit, data.trivial_loss), series("target_loss", unit, data.target_loss), *chance]

    def unit(self, data):
        return "1" if data.classes is None else "nats"

    def train(self, t, model, data, case, emit):
        import torch

        optimiser = torch.optim.Adam(model.parameters(), lr=self.learning_rate)
        rng = np.random.default_rng([case.seed, 2])
        elapsed, reached, epochs = [], math.nan, []
        losses: list[float] = []
        for _ in range(self.epochs):
            start, before = perf_counter(), elapsed[-1] if elapsed else 0.0
            with collector_off():
                for batch in t.batches(data.train, self.batch, case.device, rng, data.shape):
                    loss, norm = self.step(t, model, optimiser, data, batch)
                    losses.append(loss)
                    elapsed.append(before + perf_counter() - start)
                    if not math.isfinite(loss) or not math.isfinite(norm):
                        emit((case.id, self.curves(data, losses, elapsed, epochs, reached)))
                        raise NotOk("diverged", f"at step {len(losses)} the loss is {loss}, the gradient's norm {norm}")
            test_loss, accuracy = t.evaluate(model, data, self.batch)
            epochs.append((elapsed[-1] - before, test_loss, accuracy))
            if math.isnan(reached) and test_loss <= data.target_loss:
                reached = elapsed[-1]
        return self.curves(data, losses, elapsed, epochs, reached)

    def step(self, t, model, optimiser, data, batch):
        optimiser.zero_grad(set_to_none=True)
        loss = t.loss_of(data, model.answer(batch), batch)
        loss.backward()
        norm = t.gradient_norm(model)
        t.scale_gradients(model, norm, self.max_norm)
        optimiser.step()
        return float(loss.detach()), norm

    def curves(self, data, losses, elapsed, epochs, reached):
        unit, steps, count = self.unit(data), range(1, len(losses) + 1), range(1, len(epochs) + 1)
        seconds, test_losses, accuracies = zip(*epochs, strict=True) if epochs else ((), (), ())
        accuracy = [] if data.classes is None else [series("accuracy", "1", accuracies, count)]
        return [
            series("loss", unit, losses, steps), series("elapsed_s", "s", elapsed, steps),
            series("epoch_s", "s", seconds, count), series("test_loss", unit, test_losses, count),
            *accuracy, series("time_to_target_s", "s", reached),
        ]  # fmt: skip

    def estimate_s(self, case):
        return 3.0 + self.epochs * (1.5 if case.backend == "native" else 1.0)
