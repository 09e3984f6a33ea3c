"""A loss that is inf ends a training, and clipping rescues it: the same trainings with and without."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch

from ..claim import Claim, Numbers, Ruling, Tick, ruled
from ..learn import model as t
from ..learn.training import Diverged, Learner, Recipe, learner, step
from ..report.drawing import drawing
from ..report.table import Entry, Table, number
from ..report.units import digits, power_of_ten
from ._trainings import Trial, drawn, maker

SHOWN = (1e-5, 1e12)  # losses, by the figure
AFTER = 20  # updates that a diverged training goes on for


@dataclass(frozen=True)
class Clipping(Claim):
    """SGD from orthogonal weights times `gain`, with relu and with tanh."""

    place = 2
    sentence = "A loss that overflows to inf ends the training, and clipping the gradient rescues it."
    how = (
        "Recall with T=20 by plain networks of 32 units whose recurrent matrix starts as orthogonal times 2,"
        " SGD at 0.1, B=64, four epochs, five seeds: without clipping and clipped to norm 1, with relu (an"
        " unbounded state) and with tanh. A training that diverged goes on for 20 updates, to see whether its"
        " loss comes back."
    )
    rule = (
        "holds: every training that diverged stays lost, and the same one, clipped, ends finite and below the"
        " loss of a constant, and tanh networks diverge too; with a condition: the same, where only relu"
        " networks diverge, or most but not all are rescued; else not (nothing diverged, or half or fewer are"
        " rescued)."
    )
    caption = (
        "Training loss by update, a line a seed; a cross is the last finite loss of a training that diverged."
        " Grey: a constant answer."
    )
    seconds = 20.0
    task: str = "recall:steps=20:count=3200"
    gain: float = 2.0
    rate: float = 0.1
    epochs: int = 4
    seeds: int = 5

    @property
    def parts(self) -> int:
        return 2 * self.seeds

    def measure(self, tick: Tick) -> Numbers:
        runs = []
        for activation in ("relu", "tanh"):
            for seed in range(self.seeds):
                tick(f"{activation}, seed {seed}")
                runs += [self.run(activation, seed, clip) for clip in (None, 1.0)]
        return {
            "runs": runs,
            "trivial": float(np.mean([drawn(self.task, s).trivial_loss for s in range(self.seeds)])),
        }

    def run(self, activation: str, seed: int, clip: float | None) -> Numbers:
        """One training, clipped to that norm or not: how it ended, and its finite losses."""
        trial = Trial(self.task, f"elman:activation={activation}", seed, f"orthogonal({self.gain})")
        data = drawn(self.task, seed)
        recipe = Recipe(epochs=self.epochs, patience=self.epochs, max_norm=math.inf if clip is None else clip)
        one = learner(maker(trial, data), data, recipe, self.rate, seed)
        one.optimiser = torch.optim.SGD(one.model.parameters(), lr=self.rate)
        end: Numbers = {
            "activation": activation,
            "seed": seed,
            "clip": clip,
            "diverged_at": None,
            "loss": None,
            "came_back": 0,
        }
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of overflow, which is looked for here
            try:
                course = one.learn()
                end["loss"] = course.epochs[course.best].test_loss
            except Diverged:
                end |= {"diverged_at": len(one.course.losses), "came_back": self.came_back(one)}
        return end | {"losses": [v for v in one.course.losses if math.isfinite(v)]}

    def came_back(self, one: Learner) -> int:
        """How many of the next updates have a finite loss."""
        batches = islice(t.batches(one.data.train, one.recipe.batch, "cpu", one.rng), AFTER)
        losses = (step(one.model, one.optimiser, one.data, b, one.recipe.max_norm)[0] for b in batches)
        return sum(map(math.isfinite, losses))

    def judge(self, numbers: Numbers) -> Ruling:
        runs, trivial = numbers["runs"], numbers["trivial"]
        lost = [r for r in runs if r["clip"] is None and r["diverged_at"]]
        clipped = {(r["activation"], r["seed"]): r for r in runs if r["clip"] is not None}
        pairs = [clipped[r["activation"], r["seed"]] for r in lost]
        rescued = sum(r["loss"] is not None and r["loss"] < trivial for r in pairs)
        back = sum(r["came_back"] > 0 for r in lost)
        bounded = [r for r in runs if r["clip"] is None and r["activation"] == "tanh"]
        stayed = sum(not r["diverged_at"] for r in bounded)
        condition = (
            f"Without clipping {len(lost)} of {len(runs) - len(clipped)} trainings diverged and {back} came"
            f" back; clipped, {rescued} of these {len(lost)} end below a constant's {digits(trivial)} nats;"
            f" {stayed} of {len(bounded)} with tanh, whose state is bounded, stay finite without clipping."
        )
        all_rescued = bool(lost) and rescued == len(lost) and not back
        return ruled(all_rescued and stayed < len(bounded) / 2, 2 * rescued > len(lost), condition)

    def table(self, numbers: Numbers) -> Table:
        rows = []
        for r in numbers["runs"]:
            end = f"update {r['diverged_at']}" if r["diverged_at"] else "–"
            back = f"{r['came_back']} of {AFTER}" if r["diverged_at"] else "–"
            loss = "–" if r["loss"] is None else digits(r["loss"])
            clip = "none" if r["clip"] is None else f"norm {r['clip']:g}"
            rows.append(
                (
                    Entry(r["activation"]),
                    Entry(clip),
                    number(str(r["seed"])),
                    Entry(end),
                    Entry(back),
                    number(loss),
                )
            )
        header = ("activation", "clipping", "seed", "diverged", "finite losses after", "test loss, nats")
        return Table("", header, tuple(rows), f"A constant answer has {digits(numbers['trivial'])} nats.")

    def draw(self, numbers: Numbers) -> Any:
        figure, axes = drawing.grid(1, 2, 2.3, 1.9, sharey=True)
        lines = {}
        for axis, activation in zip(axes[0], ("relu", "tanh"), strict=True):
            for r in (r for r in numbers["runs"] if r["activation"] == activation):
                colour = drawing.COLOURS[3 if r["clip"] is None else 0]
                lines["no clipping" if r["clip"] is None else "clipped to norm 1"] = drawing.line(colour)
                losses = np.clip(r["losses"], *SHOWN)
                axis.plot(losses, color=colour, linewidth=1, alpha=0.7)
                if r["diverged_at"] and len(losses):
                    axis.plot(len(losses) - 1, losses[-1], "X", color=colour, markersize=7, clip_on=False)
            axis.axhline(numbers["trivial"], color="#999999", linewidth=0.8)
            axis.set(title=activation, xlabel="update")
            drawing.log_axis(axis.yaxis, *SHOWN, lambda value: power_of_ten(np.log10(value)))
        axes[0, 0].set_ylabel("training loss, nats")
        drawing.legend(axes[0, 1], lines)
        return figure
