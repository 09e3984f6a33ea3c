"""Small trainings that several claims look at: each is done once in a process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from cellbench import cells

from .. import task as tasks
from ..case import CONVOLUTION, Case
from ..claim import ratio
from ..learn import model as t
from ..learn.convolution import Convolution, channels_for
from ..learn.training import Course, Recipe, learner
from ..report.drawing import drawing
from ..report.table import Entry, Table, number
from ..report.units import digits
from ..task import Data, Sequences

ENDS = (1e-4, 1e4)  # of what a figure of ratios shows
MATCHED = "gru"  # whose number of parameters a convolution takes


CONTEST = {  # tasks, and epochs that are enough for some cell to learn them
    "adding:steps=20:count=4800": 6,
    "recall:steps=20:count=4800": 6,
    "temporal_order:steps=20:count=4800": 6,
    "parity:steps=10:count=4800": 6,
    "digits": 12,
}


@dataclass(frozen=True)
class Trial:
    """What is trained, by Adam with the gradient clipped at 1 and patience 3. cell may be tcn, the
    convolution.

    wrong: share of all labels that are drawn anew, uniformly from all classes.
    """

    task: str
    cell: str
    seed: int
    scheme: str = "torch"
    hidden_size: int = 32
    epochs: int = 8
    rate: float = 3e-3
    wrong: float = 0.0


@dataclass(frozen=True)
class Trained:
    """A model with the parameters of its best epoch, and how it came there."""

    model: t.Trainable
    data: Data
    course: Course
    parameters: int

    @property
    def loss(self) -> float:
        """Of the test part, at the epoch with the lowest validation loss."""
        return self.course.epochs[self.course.best].test_loss

    @property
    def accuracy(self) -> float:
        return self.course.epochs[self.course.best].accuracy

    @property
    def epoch_s(self) -> float:
        """Median over epochs."""
        return float(np.median([e.seconds for e in self.course.epochs]))


@cache
def trained(trial: Trial) -> Trained:
    """Raises Diverged, and NotOk for a program that is off the float64 reference."""
    data = drawn(trial.task, trial.seed, trial.wrong)
    one = learner(maker(trial, data), data, Recipe(epochs=trial.epochs), trial.rate, trial.seed)
    course = one.learn()
    if isinstance(one.model, t.Model):
        one.model.programs.clear()  # their buffers
    return Trained(one.model, data, course, sum(p.numel() for p in one.model.parameters()))


def maker(
    trial: Trial, data: Data, backend: str = "numba", batch: int = Recipe.batch
) -> Callable[[], t.Trainable]:
    """Makes fresh models of the trial; the program has been held against the float64 reference."""
    steps, inputs = data.train.x.shape[1:]
    if trial.cell == CONVOLUTION:
        wanted = cells.get(MATCHED).parameter_count(inputs, trial.hidden_size)
        return lambda: Convolution(data, inputs, channels_for(wanted, data, inputs), trial.seed, "cpu")
    case = Case(
        "claims",
        trial.cell,
        backend,
        "cpu",
        "float32",
        1,
        steps,
        batch,
        inputs,
        trial.hidden_size,
        task=trial.task,
        seed=trial.seed,
    )
    t.check_backend(case)
    params = cells.get(trial.cell).init(inputs, trial.hidden_size, trial.seed, trial.scheme)
    return lambda: t.Model(case, params, data.output_size, trial.seed, data.shape)


@cache
def drawn(task: str, seed: int, wrong: float = 0.0) -> Data:
    """The task's data, with a share of its labels drawn anew."""
    data = tasks.draw(task, np.random.default_rng([seed, 1]))
    if not wrong:
        return data
    rng = np.random.default_rng([seed, 4])
    return replace(
        data,
        train=_mislabelled(data, data.train, wrong, rng),
        test=_mislabelled(data, data.test, wrong, rng),
        floor=None,
    )


def _mislabelled(data: Data, part: Sequences, wrong: float, rng: np.random.Generator) -> Sequences:
    other = rng.integers(0, data.classes, len(part))
    return replace(part, y=np.where(rng.random(len(part)) < wrong, other, part.y))


def contest(
    entries: dict[str, int],
    models: Sequence[str],
    seeds: int,
    tick: Callable[[str], object],
    hidden_size: int = 32,
) -> list[dict[str, Any]]:
    """A row for each task (with its epochs), model and seed: what it reached, how large it is, and how long
    an epoch took.
    """
    rows = []
    for task, epochs in entries.items():
        for model in models:
            tick(f"{task} {model}")
            for seed in range(seeds):
                one = trained(Trial(task, model, seed, hidden_size=hidden_size, epochs=epochs))
                rows.append(
                    {
                        "task": task.partition(":count")[0],
                        "model": model,
                        "seed": seed,
                        "loss": one.loss,
                        "accuracy": one.accuracy,
                        "target": one.data.target_loss,
                        "trivial": one.data.trivial_loss,
                        "parameters": one.parameters,
                        "epoch_s": one.epoch_s,
                        "steps": one.data.train.x.shape[1],
                        "receptive_field": getattr(one.model, "receptive_field", None),
                    }
                )
    return rows


def losses(rows: Sequence[dict[str, Any]], task: str, model: str) -> list[float]:
    """By seed; a loss below the task's target counts as the target, for what both have learned is no
    difference.
    """
    return [max(row["loss"], row["target"]) for row in rows if (row["task"], row["model"]) == (task, model)]


def compared(rows: Sequence[dict[str, Any]], of: str, to: str) -> list[dict[str, Any]]:
    """By task: the ratio of two models' losses over seeds, with its interval, and which of the two is better,
    or neither.
    """
    found = []
    for task in dict.fromkeys(row["task"] for row in rows):
        made = ratio(losses(rows, task, of), losses(rows, task, to))
        better = {"below": of, "above": to, "level": None}[made.word]
        found.append(
            {
                "task": task,
                "of": of,
                "to": to,
                "ratio": made.value,
                "low": made.low,
                "high": made.high,
                "better": better,
            }
        )
    return found


def standings(rows: Sequence[dict[str, Any]], pairs: Sequence[dict[str, Any]]) -> Table:
    """Tasks by models: geometric mean loss over seeds; then the ratios."""
    models = list(dict.fromkeys(row["model"] for row in rows))
    names = list(dict.fromkeys((p["of"], p["to"]) for p in pairs))
    table = []
    for task in dict.fromkeys(row["task"] for row in rows):
        means = [number(digits(mean_loss(rows, task, m))) for m in models]
        aims = [
            number(digits(float(np.mean([r[k] for r in rows if r["task"] == task]))))
            for k in ("trivial", "target")
        ]
        of = [next(p for p in pairs if (p["task"], p["of"], p["to"]) == (task, *name)) for name in names]
        told = [number(digits(p["ratio"]), f"{digits(p['low'])} … {digits(p['high'])}") for p in of]
        table.append((Entry(task), *aims, *means, *told))
    header = (*models, *(f"{of} / {to}" for of, to in names))
    seeds = len({row["seed"] for row in rows})
    note = (
        f"Test losses, geometric means over {seeds} seeds. Ratios with 95 % intervals over paired seeds; a"
        " loss below the target counts as the target."
    )
    return Table("", ("task", "constant", "target", *header), tuple(table), note)


def mean_loss(rows: Sequence[dict[str, Any]], task: str, model: str) -> float:
    """Geometric, over seeds."""
    return float(
        np.exp(np.mean([np.log(row["loss"]) for row in rows if (row["task"], row["model"]) == (task, model)]))
    )


def ratio_figure(pairs: Sequence[dict[str, Any]]) -> Any:
    """A row a task: the ratio of losses and its interval, on a log axis; left of 1 the first model is better."""
    names = list(dict.fromkeys((p["of"], p["to"]) for p in pairs))
    tasks_shown = list(dict.fromkeys(p["task"] for p in pairs))
    figure, axes = drawing.grid(1, len(names), 0.35 * len(tasks_shown) + 0.5, 0.1, left=1.9, sharey=True)
    for axis, (of, to) in zip(axes[0], names, strict=True):
        shown = [p for p in pairs if (p["of"], p["to"]) == (of, to)]
        for n, p in enumerate(shown):
            colour = drawing.COLOURS[{of: 0, to: 1}.get(p["better"], 7)]
            axis.plot(np.clip([p["low"], p["high"]], *ENDS), [n, n], color=colour, linewidth=1.2)
            axis.plot(p["ratio"], n, "o", color=colour, markersize=6)
        axis.axvline(1, color="#999999", linewidth=0.8)
        ends = np.clip([1.0, *(p[k] for p in shown for k in ("low", "high"))], *ENDS)
        drawing.log_axis(axis.xaxis, ends.min(), ends.max())
        axis.set(xlabel=f"loss of {of} / loss of {to}", ylim=(len(tasks_shown) - 0.5, -0.5))
    axes[0, 0].set_yticks(range(len(tasks_shown)), tasks_shown)
    return figure
