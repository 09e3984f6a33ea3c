"""A vanished gradient against a finished training: what tells them apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from cellbench import cells

from ..claim import Claim, Numbers, Ruling, Tick, ruled
from ..gradients import diagnose
from ..learn.one_step import CellStep
from ..report.drawing import drawing
from ..report.table import Entry, Table, number
from ..report.units import digits
from ._trainings import Trial, trained

MODELS = (("elman", "torch"), ("elman", "orthogonal(1)"), ("lstm", "torch"), ("gru", "chrono({})"))
MARKS = {"loss": "loss", "gradient_norm": "gradient's norm", "progress": "progress in the last epoch"}
TELLS = 0.9  # an area under the curve from which a mark counts as telling the two apart
DONE = 0.95  # of the best possible accuracy, from which a training counts as finished


@dataclass(frozen=True)
class Vanished(Claim):
    """Delayed recall, with all labels right and with a share `wrong` of them drawn anew."""

    place = 3
    sentence = "A vanished gradient is hard to tell from a finished training."
    how = (
        "Recall with T=40, H=32, from initialisations that keep the cue and that lose it, with right labels"
        " and with 60 % of all labels drawn anew (so that a finished training has a loss of 1.18 nats), three"
        " seeds. Finished: 95 % of the best possible accuracy. How well a mark ranks the stuck above or below"
        " the finished is the area under its curve (0.5: not at all, 1: always, in one direction or the"
        " other); then the label of diagnose, which is not told the floor."
    )
    rule = (
        "holds: loss, gradient norm and the last epoch's progress each have an area below 0.9 (hard), and"
        " diagnose calls all finished trainings CONVERGED and no other (it can be told); with a condition:"
        " some mark but not all is below 0.9, or diagnose is right on most but not all; else not."
    )
    caption = (
        "A point is a training, by its labels. A mark tells the two apart where one height parts blue from"
        " orange."
    )
    seconds = 75.0
    steps: int = 40
    count: int = 6400
    epochs: int = 5
    seeds: int = 3
    wrong: float = 0.6
    samples: int = 1000

    @property
    def parts(self) -> int:
        return 2 * len(MODELS) * self.seeds

    def measure(self, tick: Tick) -> Numbers:
        runs = []
        for wrong in (0.0, self.wrong):
            for cell, scheme in MODELS:
                for seed in range(self.seeds):
                    tick(f"{cell} {scheme.format(self.steps)}, {wrong:.0%} wrong, seed {seed}")
                    runs.append(self.run(cell, scheme.format(self.steps), seed, wrong))
        right = [r for r in runs if not r["wrong"]]
        return {
            "runs": runs,
            "areas": {mark: area(runs, mark) for mark in MARKS},
            "areas_with_right_labels": {mark: area(right, mark) for mark in MARKS},
        }

    def run(self, cell: str, scheme: str, seed: int, wrong: float) -> Numbers:
        """One training: whether it finished, its marks, and what diagnose calls it."""
        task = f"recall:steps={self.steps}:count={self.count}"
        one = trained(Trial(task, cell, seed, scheme, epochs=self.epochs, wrong=wrong))
        epochs, model = one.course.epochs, one.recurrent
        possible = 1 - wrong + wrong / one.data.output_size  # some labels drawn anew are right
        net = CellStep(cells.get(cell), dict(model.cell.items()), model.head_weight, model.head_bias)
        seen = len(epochs) * len(one.data.train)
        x, y = torch.from_numpy(one.data.test.x), torch.from_numpy(one.data.test.y)
        batches = [(x[n : n + 100].transpose(0, 1), y[n : n + 100]) for n in range(0, self.samples, 100)]
        diagnosis = diagnose(
            net, torch.nn.functional.cross_entropy, batches, samples=self.samples, samples_seen=seen
        )
        losses = [e.test_loss for e in epochs]
        return {
            "cell": cell,
            "scheme": scheme,
            "seed": seed,
            "wrong": wrong,
            "accuracy": one.accuracy,
            "finished": bool(one.accuracy >= DONE * possible),
            "loss": one.loss,
            "gradient_norm": diagnosis.gradient_norm,
            "progress": abs(losses[-2] / losses[-1] - 1) if len(losses) > 1 else 0.0,
            "label": diagnosis.verdict.label,
            "line": str(diagnosis.verdict),
        }

    def judge(self, numbers: Numbers) -> Ruling:
        runs, areas = numbers["runs"], numbers["areas"]
        kinds = [sum(r["finished"] is done for r in runs) for done in (True, False)]
        if not all(kinds):
            return ruled(
                False,
                False,
                f"There is nothing to tell apart: {kinds[0]} trainings finished and {kinds[1]} are stuck.",
            )
        right = sum(map(told, runs))
        hard = [mark for mark, value in areas.items() if value < TELLS]
        alone = numbers["areas_with_right_labels"]
        marks = ", ".join(
            f"{MARKS[mark]} {value:.2f} (right labels alone {alone[mark]:.2f})"
            for mark, value in areas.items()
        )
        named = " and ".join(MARKS[mark] for mark in hard) or "none of them"
        condition = (
            f"Of {kinds[0]} finished and {kinds[1]} stuck trainings, areas under the curve: {marks}: hard by"
            f" {named}; diagnose, which asks the data whether anything is left to explain, is right on"
            f" {right} of {len(runs)}."
        )
        return ruled(
            len(hard) == len(areas) and right == len(runs), bool(hard) and 2 * right > len(runs), condition
        )

    def table(self, numbers: Numbers) -> Table:
        rows = [
            (
                Entry(f"{r['cell']} {r['scheme']}"),
                number(f"{r['wrong']:.0%}"),
                number(str(r["seed"])),
                Entry("finished" if r["finished"] else "stuck"),
                number(f"{r['accuracy']:.3f}"),
                number(digits(r["loss"])),
                number(digits(r["gradient_norm"])),
                number(digits(r["progress"])),
                Entry(r["label"], kind="text" if told(r) else "status"),
            )
            for r in numbers["runs"]
        ]
        header = (
            "model",
            "wrong labels",
            "seed",
            "truth",
            "accuracy",
            "loss",
            "gradient norm",
            "last progress",
            "diagnose",
        )
        note = "Progress: relative change of the test loss over the last epoch. Coloured: diagnose is wrong."
        return Table("", header, tuple(rows), note)

    def draw(self, numbers: Numbers) -> Any:
        figure, axes = drawing.grid(1, len(MARKS), 2.5, 1.2, gap=0.75)
        for axis, (mark, name) in zip(axes[0], MARKS.items(), strict=True):
            for r in numbers["runs"]:
                place = (r["wrong"] > 0) + 0.3 * (not r["finished"]) + 0.04 * r["seed"]
                colour = drawing.COLOURS[0 if r["finished"] else 1]
                axis.plot(
                    place,
                    max(r[mark], 1e-6),
                    "o",
                    color=colour,
                    markersize=5,
                    alpha=0.8,
                    clip_on=False,
                    zorder=3,
                )
            drawing.log_axis(
                axis.yaxis, *(end([max(r[mark], 1e-6) for r in numbers["runs"]]) for end in (min, max))
            )
            axis.set(xlim=(-0.4, 1.8), title=f"{name}, area {numbers['areas'][mark]:.2f}")
            axis.set_xticks([0.2, 1.2], ["right labels", f"{self.wrong:.0%} wrong"])
        drawing.legend(
            axes[0, -1],
            {
                "finished": drawing.line(drawing.COLOURS[0], "", "o"),
                "stuck": drawing.line(drawing.COLOURS[1], "", "o"),
            },
        )
        return figure


def told(run: Numbers) -> bool:
    """Is diagnose right?"""
    return (run["label"] == "CONVERGED") is run["finished"]


def area(runs: list[Numbers], mark: str) -> float:
    """Under the ROC curve, of the better direction; 1 where there is only one kind.

    It is the share of pairs that the mark ranks rightly, ties counting half (Mann & Whitney).
    """
    stuck = [r[mark] for r in runs if not r["finished"]]
    done = [r[mark] for r in runs if r["finished"]]
    if not stuck or not done:
        return 1.0
    wins = float(np.mean([(s > d) + 0.5 * (s == d) for s in stuck for d in done]))
    return max(wins, 1 - wins)
