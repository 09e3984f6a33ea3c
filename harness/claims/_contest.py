"""Models on the same small tasks: their losses, and the ratios of these over paired seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from ..claim import Claim, Numbers, Tick, ratio
from ..report.drawing import drawing
from ..report.table import Entry, Table, number
from ..report.units import digits
from ._trainings import Trial, trained

Row = dict[str, Any]
ENDS = (1e-4, 1e4)  # of what a figure of ratios shows
CONTEST = {  # tasks, and epochs that are enough for some cell to learn them
    "adding:steps=20:count=4800": 6,
    "recall:steps=20:count=4800": 6,
    "temporal_order:steps=20:count=4800": 6,
    "parity:steps=10:count=4800": 6,
    "digits": 12,
}


@dataclass(frozen=True)
class Contest(Claim):
    """Base of the claims that compare models on small tasks, each with the epochs it gets.

    A training that several of them need is done once.
    """

    models: ClassVar[tuple[str, ...]]
    pairs: ClassVar[
        tuple[tuple[str, str], ...]
    ]  # of which ratios are taken, the first of a pair over the second

    tasks: dict[str, int] = field(default_factory=lambda: dict(CONTEST))
    seeds: int = 4
    hidden_size: int = 32

    @property
    def parts(self) -> int:
        return len(self.models) * len(self.tasks)

    def measure(self, tick: Tick) -> Numbers:
        rows = losses_of(self.tasks, self.models, self.seeds, tick, self.hidden_size)
        return {"rows": rows, "pairs": [pair for of, to in self.pairs for pair in compared(rows, of, to)]}

    def table(self, numbers: Numbers) -> Table:
        return standings(numbers["rows"], numbers["pairs"])

    def draw(self, numbers: Numbers) -> Any:
        return ratio_figure(numbers["pairs"])


def losses_of(
    tasks: dict[str, int], models: Sequence[str], seeds: int, tick: Tick, hidden_size: int
) -> list[Row]:
    """A row for each task (with its epochs), model and seed: its losses, its size, the time of an epoch."""
    rows = []
    for task, epochs in tasks.items():
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


def better_on(numbers: Numbers, model: str | None) -> list[str]:
    """The tasks on which a model is the better one of its pair; None: on which neither is."""
    return [pair["task"] for pair in numbers["pairs"] if pair["better"] == model]


def listed(numbers: Numbers, names: dict[str | None, str]) -> str:
    """The tasks by which model is better, under given names: `LSTM better: parity; level: none`."""
    return "; ".join(
        f"{name}: {', '.join(better_on(numbers, model)) or 'none'}" for model, name in names.items()
    )


def losses(rows: Sequence[Row], task: str, model: str) -> list[float]:
    """Losses by seed. One below the task's target counts as the target: what both have learned is level."""
    return [max(row["loss"], row["target"]) for row in rows if (row["task"], row["model"]) == (task, model)]


def compared(rows: Sequence[Row], of: str, to: str) -> list[Row]:
    """The ratio of two models' losses by task, its interval over seeds, and the better one, or None."""
    pairs = []
    for task in dict.fromkeys(row["task"] for row in rows):
        losses_ratio = ratio(losses(rows, task, of), losses(rows, task, to))
        pairs.append(
            {
                "task": task,
                "of": of,
                "to": to,
                "ratio": losses_ratio.value,
                "low": losses_ratio.low,
                "high": losses_ratio.high,
                "better": {"below": of, "above": to, "level": None}[losses_ratio.word],
            }
        )
    return pairs


def standings(rows: Sequence[Row], pairs: Sequence[Row]) -> Table:
    """Tasks by models: geometric mean loss over seeds; then the ratios."""
    models = list(dict.fromkeys(row["model"] for row in rows))
    names = list(dict.fromkeys((p["of"], p["to"]) for p in pairs))
    lines = []
    for task in dict.fromkeys(row["task"] for row in rows):
        means = [number(digits(mean_loss(rows, task, m))) for m in models]
        aims = [
            number(digits(float(np.mean([r[k] for r in rows if r["task"] == task]))))
            for k in ("trivial", "target")
        ]
        of = [next(p for p in pairs if (p["task"], p["of"], p["to"]) == (task, *name)) for name in names]
        ratios = [number(digits(p["ratio"]), f"{digits(p['low'])} … {digits(p['high'])}") for p in of]
        lines.append((Entry(task), *aims, *means, *ratios))
    header = (*models, *(f"{of} / {to}" for of, to in names))
    seeds = len({row["seed"] for row in rows})
    note = (
        f"Test losses, geometric means over {seeds} seeds. Ratios with 95 % intervals over paired seeds; a"
        " loss below the target counts as the target."
    )
    return Table("", ("task", "constant", "target", *header), tuple(lines), note)


def mean_loss(rows: Sequence[Row], task: str, model: str) -> float:
    """Geometric, over seeds."""
    some = [row["loss"] for row in rows if (row["task"], row["model"]) == (task, model)]
    return float(np.exp(np.mean(np.log(some))))


def ratio_figure(pairs: Sequence[Row]) -> Any:
    """A row a task: the ratio of losses and its interval, on a log axis; left of 1 the first is better."""
    names = list(dict.fromkeys((p["of"], p["to"]) for p in pairs))
    tasks = list(dict.fromkeys(p["task"] for p in pairs))
    figure, axes = drawing.grid(1, len(names), 0.35 * len(tasks) + 0.5, 0.1, left=1.9, sharey=True)
    for axis, (of, to) in zip(axes[0], names, strict=True):
        shown = [p for p in pairs if (p["of"], p["to"]) == (of, to)]
        for n, p in enumerate(shown):
            colour = drawing.COLOURS[{of: 0, to: 1}.get(p["better"], 7)]
            axis.plot(np.clip([p["low"], p["high"]], *ENDS), [n, n], color=colour, linewidth=1.2)
            axis.plot(p["ratio"], n, "o", color=colour, markersize=6)
        axis.axvline(1, color="#999999", linewidth=0.8)
        ends = np.clip([1.0, *(p[k] for p in shown for k in ("low", "high"))], *ENDS)
        drawing.log_axis(axis.xaxis, ends.min(), ends.max())
        axis.set(xlabel=f"loss of {of} / loss of {to}", ylim=(len(tasks) - 0.5, -0.5))
    axes[0, 0].set_yticks(range(len(tasks)), tasks)
    return figure
