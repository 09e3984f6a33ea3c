"""The record of a training's updates: norms before and after clipping, row by row."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Row:
    """One update.

    norm, kept_norm   of all gradients before and after clipping, float64
    angle             between the two, radians
    non_finite        entries that are not finite, by parameter
    outcome           '' where all was finite; 'passed on' (not clipped), 'zeroed' (torch's norm overflowed,
                      so that every gradient became 0), 'poisoned' (a NaN spread to all), 'skipped' (no step)
    """

    step: int
    norm: float
    kept_norm: float
    angle: float
    clipped: bool
    non_finite: dict[str, int]
    outcome: str


@dataclass
class Gradients:
    """Rows in order, and their sums.

    A row is one call of an optimiser's step, or a clipping that no step followed.
    """

    rows: list[Row] = field(default_factory=list)

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

    def to_dicts(self) -> list[dict[str, Any]]:
        """Plain rows, for a table or a logger."""
        return [{**vars(r), "non_finite": dict(r.non_finite)} for r in self.rows]

    def to_tensorboard(self, writer: Any, prefix: str = "gradient") -> None:
        """Scalars by update to a SummaryWriter, or to a new one in the folder of that name.

        Raises ValueError where a folder is given and torch.utils.tensorboard cannot be imported.
        """
        if isinstance(writer, (str, Path)):
            with _summary_writer(writer) as opened:
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

    def __str__(self) -> str:
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
        return f"{len(self.rows)} updates: {middle}; {clipping}; updates not finite by parameter: {bad}"


@contextmanager
def _summary_writer(folder: str | Path) -> Iterator[Any]:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ValueError(
            "there is no tensorboard here; `pip install tensorboard`, or take the rows with to_dicts()"
        ) from None
    writer = SummaryWriter(str(folder))
    try:
        yield writer
    finally:
        writer.close()
