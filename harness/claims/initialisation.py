"""Initialisation: how far back the gradient reaches at the start, and when the far cue is learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cellbench import cells

from ..claim import Claim, Numbers, Ruling, Tick, ruled
from ..gradients import lag_profile
from ..report.drawing import drawing
from ..report.table import Entry, Table, number
from ..report.units import digits
from ..studies.anchors import learned
from ..studies.anchors.sequences import recall
from ..studies.anchors.training import train

FALL = np.log(1e-6)
SCHEMES = {  # torch's first
    "elman": ("torch", "orthogonal(1)", "identity"),
    "gru": ("torch", "chrono({})"),
    "lstm": ("torch", "forget_bias(1)", "chrono({})"),
}


@dataclass(frozen=True)
class Initialisation(Claim):
    """Delayed recall of so many steps; the anchors' recipe, on sequences drawn afresh."""

    place = 4
    sentence = "The right initialisation helps against a vanishing gradient."
    how = (
        "Recall of a cue 40 steps back, H=32, Adam at 0.003, B=64, clip 1, at most 600 updates, five seeds."
        " By scheme: the lag at which the gradient has fallen to 1e-6 at the start (median over seeds), the"
        " share of seeds that learn the task (loss below ln 4 / 20 over ten updates) and the update at which"
        " they have."
    )
    rule = (
        "a scheme helps a cell when its gradient reaches farther than with torch's, and more seeds learn the"
        " task, or as many in fewer updates (median); holds: some scheme helps every cell; with a condition:"
        " some cell; else not."
    )
    caption = (
        "Training loss, a line a seed, smoothed over 20 updates; a line ends where the task is learned. Grey:"
        " a constant answer."
    )
    seconds = 45.0
    steps: int = 40
    seeds: int = 5
    updates: int = 600
    reach: int = 3000

    @property
    def parts(self) -> int:
        return sum(map(len, SCHEMES.values()))

    def measure(self, tick: Tick) -> Numbers:
        rows = []
        for name, schemes in SCHEMES.items():
            for scheme in (s.format(self.steps) for s in schemes):
                tick(f"{name} {scheme}")
                rows.append(self.row(name, scheme))
        return {"rows": rows}

    def row(self, name: str, scheme: str) -> Numbers:
        """A cell from one initialisation: its reach, the updates at which seeds learned it, their losses."""
        cell, recipe = cells.get(name), replace(learned.recall_recipe(self.steps), updates=self.updates)
        params = [cell.init(6, learned.HIDDEN, seed, scheme) for seed in range(self.seeds)]
        runs = [train(recipe, cell, p, seed) for seed, p in enumerate(params)]
        return {
            "cell": name,
            "scheme": scheme,
            "reach": float(np.median([self.fallen(cell, p) for p in params])),
            "learned_at": [run.learned_at for run in runs],
            "losses": [smooth(run.losses) for run in runs],
        }

    def fallen(self, cell: cells.GatedCell, params: dict[str, np.ndarray]) -> int:
        """The first lag at which the median sample's gradient is below 1e-6 of its start; at most `reach`."""
        x, _ = recall(np.random.default_rng(0), 4, self.reach)
        logs = lag_profile(cell, params, x.astype(float)).log_norm
        below = np.flatnonzero(np.median(logs - logs[1], axis=1)[1:] < FALL)
        return int(below[0]) + 1 if len(below) else self.reach

    def judge(self, numbers: Numbers) -> Ruling:
        helped, counts = [], []
        for name in dict.fromkeys(row["cell"] for row in numbers["rows"]):
            first, *others = [row for row in numbers["rows"] if row["cell"] == name]
            best = max(others, key=rank)
            helped.append(any(row["reach"] > first["reach"] and rank(row) > rank(first) for row in others))
            counts.append(
                f"{name}: {share(first)} seeds learn it as torch draws, {share(best)} with {best['scheme']}"
            )
        return ruled(all(helped), any(helped), f"Of recall at T={self.steps}, {'; '.join(counts)}.")

    def table(self, numbers: Numbers) -> Table:
        rows = [
            (
                Entry(row["cell"]),
                Entry(row["scheme"]),
                number(f"{'≥ ' * (row['reach'] >= self.reach)}{row['reach']:.0f}"),
                number(share(row)),
                number(digits(when(row)) if any(row["learned_at"]) else "–"),
            )
            for row in numbers["rows"]
        ]
        header = ("cell", "initialisation", "lag of 1e-6", "learned", "after updates")
        return Table(
            "", header, tuple(rows), "Median over the seeds that learned it; the lag is the median over all."
        )

    def draw(self, numbers: Numbers) -> Any:
        names = list(dict.fromkeys(row["cell"] for row in numbers["rows"]))
        figure, axes = drawing.grid(1, len(names), 2.3, 1.7, sharey=True)
        lines = {}
        for axis, name in zip(axes[0], names, strict=True):
            for n, row in enumerate(row for row in numbers["rows"] if row["cell"] == name):
                colour = drawing.COLOURS[
                    ["torch", "orthogonal", "identity", "chrono", "forget_bias"].index(
                        row["scheme"].split("(")[0]
                    )
                ]
                lines[row["scheme"]] = drawing.line(colour)
                for losses in row["losses"]:
                    axis.plot(
                        np.arange(len(losses)) * 10,
                        losses,
                        color=colour,
                        linewidth=1,
                        alpha=0.8,
                        zorder=3 + n,
                    )
            axis.axhline(np.log(4), color="#999999", linewidth=0.8)
            axis.set(title=name, xlabel="updates")
        axes[0, 0].set_ylabel("loss, nats")
        drawing.legend(axes[0, -1], lines)
        return figure


def smooth(losses: Sequence[float] | np.ndarray) -> list[float]:
    """Means over 20 updates, every tenth; of fewer, what there is."""
    width = min(20, len(losses))
    return [float(v) for v in np.convolve(losses, np.ones(width) / width, "valid")[::10]]


def when(row: Numbers) -> float:
    """The median update at which the seeds that learned it did; infinite where none has."""
    updates = [n for n in row["learned_at"] if n is not None]
    return float(np.median(updates)) if updates else float("inf")


def rank(row: Numbers) -> tuple[int, float]:
    """More seeds that learned it first, then fewer updates."""
    return sum(n is not None for n in row["learned_at"]), -when(row)


def share(row: Numbers) -> str:
    return f"{sum(n is not None for n in row['learned_at'])} of {len(row['learned_at'])}"
