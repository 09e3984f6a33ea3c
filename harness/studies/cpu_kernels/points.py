"""The grid: which workloads are timed, and against whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ...case import Case

OWN = "numba"
STEPS = 128
CELLS = ("elman", "gru", "lstm")
BATCHES, SIZES = (1, 2, 8, 32, 64), (32, 64, 128, 256, 512)
PEERS: dict[str, tuple[str, ...]] = {"forward": ("onnxruntime", "native"), "backward": ("native",)}
# what every cell can be held against
LOOP: dict[str, tuple[str, ...]] = {"forward": ("torch",), "backward": ("torch",)}
# what the least ratio and the geometric mean of the ratios to the best peer are to be
GOALS = {
    ("elman", "forward"): (1.0, 1.3),
    ("gru", "forward"): (1.0, 1.3),
    ("lstm", "forward"): (1.0, 1.15),
    ("elman", "backward"): (1.0, 3.0),
    ("gru", "backward"): (1.0, 4.0),
    ("lstm", "backward"): (1.0, 1.25),
}
LOOP_GOAL = (3.0, 10.0)


@dataclass(frozen=True, order=True)
class Point:
    """One workload: T = steps, I = H = hidden, float32; backward is forward and backward."""

    cell: str
    direction: str
    batch: int
    hidden: int
    steps: int = STEPS

    def case(self, backend: str) -> Case:
        size = (self.steps, self.batch, self.hidden, self.hidden)
        return Case("cpu_kernels", self.cell, backend, "cpu", "float32", 1, *size, self.direction)

    def __str__(self) -> str:
        return f"{self.cell} {self.direction} B={self.batch} H={self.hidden}"

    @property
    def definition(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Grid:
    """The points of a study, and the peers by direction."""

    cells: Sequence[str] = CELLS
    batches: Sequence[int] = BATCHES
    sizes: Sequence[int] = SIZES
    peers: dict[str, tuple[str, ...]] | None = None
    steps: int = STEPS

    def points(self) -> list[Point]:
        return [
            Point(cell, direction, batch, hidden, self.steps)
            for cell in self.cells
            for direction in ("forward", "backward")
            for hidden in self.sizes
            for batch in self.batches
        ]

    def of(self, direction: str) -> tuple[str, ...]:
        return (self.peers or PEERS)[direction]

    def goal(self, cell: str, direction: str) -> tuple[float, float] | None:
        """(least ratio, geometric mean) that the kernels are to reach; None where nobody has said."""
        return LOOP_GOAL if self.peers is LOOP else GOALS.get((cell, direction))
