"""The record of a training's updates: what backward left, what clipping left, what the optimiser got."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cellbench.cells.display import Displayed

from .board import summary_writer
from .reach import Reach, idle
from .trackers import mlflow_writer, wandb_writer

NAMES = 6  # parameters that a line of the summary names


@dataclass(frozen=True)
class Row:
    """One update of one optimiser, over the model's parameters that it steps.

    norm              before clipping, as the last backward left the gradients; float64, without a loss scale
    kept_norm         what the optimiser stepped with, without a loss scale
    angle             between the two, radians; NaN where something not watched changed the gradients
    clipped           whether the optimiser got less than backward left
    non_finite        entries that are not finite, by parameter
    outcome           '' where all was finite; 'passed on' (not clipped), 'zeroed' (all gradients became 0, as
                      where torch's norm overflows), 'poisoned' (a NaN spread to all), 'skipped' (no step)
    optimiser         its class, numbered from the second of a class on; '' where no step followed; 'by hand'
                      where parameters changed without a step of a torch optimiser
    clip_norm         what the last clipping left of the parameters that it was given; NaN without clipping
    evaluations       of the closure in this step; 1 without a closure. The norms are those of the first
    note              in words, why the optimiser did not step with what clipping or backward left; else ''
    """

    step: int
    norm: float
    kept_norm: float
    angle: float
    clipped: bool
    non_finite: dict[str, int]
    outcome: str
    optimiser: str = ""
    clip_norm: float = math.nan
    evaluations: int = 1
    note: str = ""


@dataclass(repr=False)
class Gradients(Displayed):
    """Rows in order, and their sums.

    A row is one call of an optimiser's step, or a clipping or a scaler's step that no step followed.
    `parameters` says of each parameter, by name, what reached it.
    """

    axes = {"step": ("norm", "kept_norm")}
    records = "rows"
    derived = ("fraction_clipped", "lost_impulse")
    drawn = ("norm", "kept_norm")

    rows: list[Row] = field(default_factory=list)
    parameters: dict[str, Reach] = field(default_factory=dict)

    @property
    def fraction_clipped(self) -> float:
        """The fraction of the updates that were clipped; NaN where there was none."""
        return sum(r.clipped for r in self.rows) / len(self.rows) if self.rows else math.nan

    @property
    def lost_impulse(self) -> float:
        """1 - sum of kept norms / sum of norms, over the rows in which both are finite."""
        both = [
            (r.norm, r.kept_norm) for r in self.rows if math.isfinite(r.norm) and math.isfinite(r.kept_norm)
        ]
        total = math.fsum(n for n, _ in both)
        return 1 - math.fsum(k for _, k in both) / total if total else 0.0

    @property
    def non_finite(self) -> Counter[str]:
        """Updates in which a parameter's gradient had entries that are not finite, by its name."""
        return Counter(name for r in self.rows for name in r.non_finite)

    @property
    def outcomes(self) -> Counter[str]:
        """How often a gradient that was not finite was passed on, zeroed, poisoned or skipped."""
        return Counter(r.outcome for r in self.rows if r.outcome)

    @property
    def idle(self) -> dict[str, str]:
        """The parameters that do not learn, by name, each with the reason in words."""
        return idle(self.parameters)

    def to_dicts(self) -> list[dict[str, Any]]:
        """Plain rows, for a table or a logger."""
        return [{**vars(r), "non_finite": dict(r.non_finite)} for r in self.rows]

    def to_tensorboard(self, writer: Any, prefix: str = "gradient") -> None:
        """Scalars by update to a SummaryWriter, or to a new one in the folder of that name.

        Raises ValueError where a folder is given and torch.utils.tensorboard cannot be imported.
        """
        if isinstance(writer, (str, Path)):
            with summary_writer(writer, "take the rows with to_dicts()") as opened:
                return self.to_tensorboard(opened, prefix)
        for r in self.rows:
            numbers = {
                "norm": r.norm,
                "kept_norm": r.kept_norm,
                "angle": r.angle,
                "clipped": float(r.clipped),
            }
            for name, value in {**numbers, "non_finite": float(sum(r.non_finite.values()))}.items():
                writer.add_scalar(f"{prefix}/{name}", value, r.step)
        return None

    def to_mlflow(self, run_id: str | None = None, prefix: str = "gradient") -> None:
        """The same as metrics of a run of MLflow: the one of that id, else the active one.

        Raises ValueError without the package, or without such a run.
        """
        with mlflow_writer(run_id, "take the rows with to_dicts()") as writer:
            self.to_tensorboard(writer, prefix)

    def to_wandb(self, run: Any, prefix: str = "gradient") -> None:
        """The same as metrics of a run of W&B, which is what wandb.init() returns; else ValueError."""
        with wandb_writer(run) as writer:
            self.to_tensorboard(writer, prefix)

    def __str__(self) -> str:
        return "\n".join([self._norms(), *self._differences(), *self._idle()])

    def _norms(self) -> str:
        if not self.rows:
            return "0 updates"
        norms = sorted(r.norm for r in self.rows if math.isfinite(r.norm))
        middle = (
            f"median norm {norms[len(norms) // 2]:.3g}, largest {norms[-1]:.3g}"
            if norms
            else "no finite norm"
        )
        angle = max((r.angle for r in self.rows if math.isfinite(r.angle)), default=0.0)
        bad = ", ".join(f"{name} {count}" for name, count in self.non_finite.most_common()) or "none"
        clipping = (
            f"{self.fraction_clipped:.1%} clipped, {self.lost_impulse:.1%} of the impulse lost, angle up to"
            f" {angle:.3f}"
        )
        outcomes = "".join(f"; {outcome}: {count}" for outcome, count in self.outcomes.most_common())
        ill = f"updates not finite by parameter: {bad}{outcomes}"
        return f"{len(self.rows)} updates: {middle}; {clipping}; {ill}"

    def _differences(self) -> list[str]:
        """A line for each cause, with its first update in full."""
        causes: dict[str, list[Row]] = {}
        for r in self.rows:
            if r.note:
                causes.setdefault(r.note.partition(": ")[2], []).append(r)
        return [
            f"in {len(rows)} of {len(self.rows)} updates, first in {rows[0].step}: {rows[0].note}"
            for rows in causes.values()
        ]

    def _idle(self) -> list[str]:
        by_reason: dict[str, list[str]] = {}
        for name, reason in self.idle.items():
            by_reason.setdefault(reason, []).append(name)
        return [f"{reason}: {_some(names)}" for reason, names in by_reason.items()] + (
            [] if self.rows else ["no optimiser of torch.optim stepped a parameter of this model"]
        )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - NAMES} more" if len(names) > NAMES else ""
    return ", ".join(names[:NAMES]) + more
