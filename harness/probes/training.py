"""How long does a cell take to train on each backend, and what does it reach?"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from itertools import accumulate
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .. import task as tasks
from ..case import CONVOLUTION, Case
from ..probe import Emit, Intermediate, NotOk, Plan, Probe, Series, cell_of, series
from ..rivals import rivals
from ..runs.values import writable
from ..task import MANY_TO_ONE, TO_SEQUENCE, Data

if TYPE_CHECKING:
    from cellbench import cells

    from ..learn.training import Course, Learner, Recipe

Make = Callable[[], Any]  # of a fresh model


@dataclass(frozen=True)
class Training(Probe):
    """Adam with gradients clipped by norm, from torch's initialisation; the same for every cell and backend.

    backends        which to train on; empty means all of the run's
    embedding_size  width of the inputs where a task's are tokens
    learning_rate   one, or several: each is tried for one epoch, and the lowest validation loss decides
    epochs          at most; it stops after `patience` epochs without a better validation loss, and the best
                    epoch counts
    most_s          of training, in seconds: a budget of time that is the same for every cell
    convolution     also train a causal convolution (TCN) with as many parameters as the first cell
    verdict         diagnose the trained network, in float64 and up to twenty seconds: converged, vanished,
                    exploded. Where sequences have several targets, single answers at up to eight steps are
                    looked at. There is none for a convolution, nor for a cell that cannot be called step by
                    step; the line says why
    checkpoints     folder for a safetensors file a case, from which an interrupted training goes on, and
                    says so; where empty, one of the run's own until that has ended, if there is safetensors.
                    Another version of the code begins again, in a file of its own
    Loss and elapsed time are recorded at every step. The time is that of training alone, without the tests
    after each epoch; on one thread it leaves out the time in which other work had the core. A tenth of the
    training part is held out for the choice of the rate and of the epoch.
    """

    times_alone: ClassVar[bool] = False
    intermediate: ClassVar[tuple[str, ...]] = ("best_test_loss", "best_accuracy")

    backends: tuple[str, ...] = ()
    hidden_size: int = 64
    embedding_size: int = 32
    batch: int = 64
    epochs: int = 6
    patience: int = 3
    learning_rate: tuple[float, ...] = (0.003,)
    max_norm: float = 1.0
    most_s: float = 1e6
    convolution: bool = False
    verdict: bool = True
    checkpoints: str = ""

    def __post_init__(self) -> None:
        bad = [
            r
            for r in self.learning_rate
            if isinstance(r, bool) or not isinstance(r, (int, float)) or not 0 < r < math.inf
        ]
        if bad or not self.learning_rate:
            raise ValueError(
                f"training has learning_rate={list(self.learning_rate)}; it must be a number above 0, or"
                " several"
            )

    def cases(self, plan: Plan) -> list[Case]:
        if self.checkpoints:
            writable(self.checkpoints, "probe.training.checkpoints")
        backends = self.backends or plan.backends
        models = [(c, b) for c in plan.cells for b in backends] + [(CONVOLUTION, "torch")] * self.convolution
        return [
            Case(
                self.name,
                m,
                b,
                plan.device,
                plan.dtype,
                plan.threads,
                batch=self.batch,
                hidden_size=self.hidden_size,
                task=t,
                seed=s,
                variant=f"as {plan.cells[0]}" if m == CONVOLUTION else None,
            )
            for t in plan.tasks
            for m, b in models
            for s in plan.seeds
        ]

    def measure(self, case: Case, emit: Emit) -> tuple[Any, ...]:
        from ..learn import checkpoint, training

        try:
            data = tasks.draw(case.task, np.random.default_rng([case.seed, 1]))
        except tasks.DataAbsent as absent:
            raise NotOk("skipped", str(absent)) from None
        make, implementation = self.ready(case, data)
        emit((case.id, self.aims(case, data, make())))
        recipe = training.Recipe(self.batch, self.epochs, self.patience, self.max_norm, self.most_s)
        file = checkpoint.file(self.checkpoints, case.id) if self.checkpoints else None
        known = file and checkpoint.rate(file)
        rate, tried = (known, []) if known else self.rate(case, data, make, recipe, emit)
        emit((case.id, [*tried, series("learning_rate", "1", rate)]))
        learner = training.learner(make, data, recipe, rate, case.seed)
        if file:
            checkpoint.resume(file, learner)
        resumed = len(learner.course.epochs)
        if resumed:  # so that the times of an earlier process are not taken for this one's
            emit((case.id, [series("resumed_epochs", "1", resumed)]))

        def after_epoch(one: Learner) -> None:
            if file:
                checkpoint.save(file, one)
            epochs = len(one.course.epochs)
            emit((case.id, epochs / self.epochs))
            emit((case.id, Intermediate(epochs, self.best(data, one.course), one.course.ended(recipe))))

        try:
            learner.learn(after_epoch)
        except training.Diverged as error:
            raise NotOk("diverged", str(error)) from None
        finally:
            emit((case.id, self.curves(data, learner.course)))

        def ended() -> tuple[Any, ...]:
            ends, *line = self.reached(case, data, learner)
            if resumed:
                epochs = len(learner.course.epochs)
                line = ["; ".join([*line, f"{resumed} of {epochs} epochs are a checkpoint's"])]
            return ends, *line

        return implementation, *((ended,) if self.verdict else ended())

    def kept_in(self, folder: str) -> dict[str, Any]:
        return {} if self.checkpoints or find_spec("safetensors") is None else {"checkpoints": folder}

    def ready(self, case: Case, data: Data) -> tuple[Make, str]:
        """(a function that makes a fresh model, the implementation that runs). Raises NotOk."""
        from ..learn import model as t

        input_size = data.train.x.shape[2] if data.vocabulary is None else self.embedding_size
        if case.spec == CONVOLUTION:
            return self.convolutional(case, data, input_size)
        sized = replace(case, steps=data.train.x.shape[1], input_size=input_size)
        if reason := cell_of(case).unfit(input_size, case.hidden_size):
            raise NotOk("unsupported", reason)
        if reason := looks_ahead(cell_of(case), data):
            raise NotOk("unsupported", reason)
        implementation = t.check_backend(sized)

        def make() -> t.Model:
            params = cell_of(case).init(input_size, case.hidden_size, case.seed)
            return t.Model(sized, params, data.output_size, case.seed, data.shape, data.vocabulary)

        return make, implementation

    def convolutional(self, case: Case, data: Data, input_size: int) -> tuple[Make, str]:
        import torch

        from ..learn import convolution, model

        model.check_format(case)
        if data.shape == TO_SEQUENCE:
            raise NotOk("unsupported", "a convolution has no state that an encoder could hand to a decoder")
        first = cell_of(replace(case, spec=case.variant.removeprefix("as ")))
        head = data.output_size * (first.output_size(input_size, case.hidden_size) + 1)
        channels = convolution.channels_for(
            first.parameter_count(input_size, case.hidden_size) + head, data, input_size
        )
        make = partial(
            convolution.Convolution, data, input_size, channels, case.seed, case.device, case.dtype
        )
        return make, f"torch {torch.__version__} conv1d, {channels} channels"

    def rate(
        self, case: Case, data: Data, make: Make, recipe: Recipe, emit: Emit
    ) -> tuple[float, list[Series]]:
        """(the learning rate, series of the search)."""
        from ..learn.training import chosen_rate

        tried = []
        for one in chosen_rate(self.learning_rate, make, data, recipe, case.seed):
            tried.append(one)
            emit((case.id, 0.0))
        if not tried:
            return self.learning_rate[0], []
        finite = [(loss, rate) for rate, loss in tried if math.isfinite(loss)]
        if not finite:
            raise NotOk(
                "diverged", f"in the first epoch with every learning rate of {list(self.learning_rate)}"
            )
        return min(finite)[1], [
            series("tried_learning_rate", "1", [r for r, _ in tried]),
            series("tried_validation_loss", self.unit(data), [loss for _, loss in tried]),
        ]

    def aims(self, case: Case, data: Data, model: Any) -> list[Series]:
        """The losses to reach, and those of the rivals, which need no training of the model."""
        unit, task = self.unit(data), tasks.get(case.task)
        aims = [
            series("trivial_loss", unit, data.trivial_loss),
            series("target_loss", unit, data.target_loss),
            series(f"shape.{data.shape}", "1", 1),
        ]
        if data.chance_accuracy is not None:
            aims.append(series("chance_accuracy", "1", data.chance_accuracy))
        if data.floor is not None:
            aims.append(series("floor_loss", unit, data.floor))
        aims.append(series("model_parameters", "1", sum(p.numel() for p in model.parameters())))
        if case.spec == CONVOLUTION:
            aims.append(series("receptive_field", "1", model.receptive_field))
        for rival in rivals(data, task):
            aims.append(series(f"rival_loss.{rival.name}", unit, rival.loss))
            if rival.accuracy is not None:
                aims.append(series(f"rival_accuracy.{rival.name}", "1", rival.accuracy))
            aims += [series(f"rival_{name}.{rival.name}", "1", v) for name, v in rival.figures.items()]
        return aims

    def unit(self, data: Data) -> str:
        return "1" if data.classes is None else "nats"

    def curves(self, data: Data, course: Course) -> list[Series]:
        unit, epochs = self.unit(data), course.epochs
        steps, count = range(1, len(course.losses) + 1), range(1, len(epochs) + 1)
        accuracy = [series("accuracy", "1", [e.accuracy for e in epochs], count)]
        return [
            series("loss", unit, course.losses, steps),
            series("elapsed_s", "s", course.elapsed, steps),
            series("epoch_s", "s", [e.seconds for e in epochs], count),
            series("tokens", "1", accumulate(e.tokens for e in epochs), count),
            series("validation_loss", unit, [e.validation_loss for e in epochs], count),
            series("test_loss", unit, [e.test_loss for e in epochs], count),
            *([] if data.classes is None else accuracy),
            series("time_to_target_s", "s", course.reached_s),
        ]

    def best(self, data: Data, course: Course) -> list[Series]:
        """What the best epoch so far has reached."""
        best = course.epochs[course.best]
        accuracy = [] if data.classes is None else [series("best_accuracy", "1", best.accuracy)]
        return [series("best_test_loss", self.unit(data), best.test_loss), *accuracy]

    def reached(self, case: Case, data: Data, learner: Learner) -> tuple[Any, ...]:
        """(series of how it ended, and the verdict's line where there is one)."""
        course = learner.course
        ends = self.best(data, course)
        ends += [] if case.spec == CONVOLUTION else self.figures(case, data, learner.model)
        if not self.verdict:
            return (ends,)
        from ..learn.verdict import verdict

        seen = len(course.epochs) * len(learner.data.train.targets)
        judged = verdict(case, data, learner.model, seen)
        if judged.label is not None:
            ends.append(series(f"label.{judged.label}", "1", 1))
        return ends, judged.line

    def figures(self, case: Case, data: Data, model: Any) -> list[Series]:
        """Series of the task's own figures, and of the network beside the system that the data come from."""
        from ..learn import answers, verdict

        task = tasks.get(case.task)
        of_task = answers.figures(task, data, model, self.batch)
        figures = [series(f"figure.{name}", "1", value) for name, value in of_task.items()]
        system = verdict.compared_with_system(task, data, model)
        if system is None:
            return figures
        numbers = ("own_lyapunov", "true_lyapunov", "profile_rms_nats")
        profiles = ("own_profile", "true_profile")
        return [
            *figures,
            *[series(f"figure.{name}", "1", getattr(system, name)) for name in numbers],
            *[series(name, "nats", p, range(len(p))) for name in profiles for p in [getattr(system, name)]],
        ]

    def estimate_s(self, case: Case) -> float:
        epochs = self.epochs + (len(self.learning_rate) if len(self.learning_rate) > 1 else 0)
        return 2.0 + 4.0 * self.verdict + epochs * (1.5 if case.backend == "native" else 1.0)


def looks_ahead(cell: cells.GatedCell, data: Data) -> str | None:
    """None, or why a cell that reads a sequence backwards too would see the answer that it must give."""
    if not cell.bidirectional:
        return None
    if data.shape != MANY_TO_ONE:
        return (
            f"a bidirectional cell would see the targets of a task of shape {data.shape!r}; it can learn many"
            " to one"
        )
    lengths = np.concatenate([data.train.lengths, data.test.lengths])
    if lengths.min() != data.train.x.shape[1]:
        return "a bidirectional cell would read the padding first: the task's sequences have several lengths"
    return None
