"""The cases of the study: backends by cells, sizes and formats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from cellbench import cells
from cellbench.cells.programs.formats import FORMATS

from ...case import Case

COMPILED = "torch:mode=compile"
LONG = (COMPILED, "flashrnn")  # compile for long, and that for every size
SLOW = ("torch", *LONG)  # are taken at the usual sizes alone: the eager loop's time is that of its launches
CAPTURED = "torch:mode=graph"  # a second a case: at the largest batch, and at the usual sizes
APART = ("triton", "flashrnn")  # whose kernels leave out the product of the inputs
BACKENDS = ("torch", COMPILED, CAPTURED, "native", "triton", "flashrnn")
CELLS = ("lstm", "gru", "slstm:heads=4", "mingru")
BATCHES, SIZES, DTYPE = (1, 16), (64, 128, 256), ("float32", "bfloat16", "float16")
DIRECTIONS = ("forward", "backward")
STEPS = 1024
CHECKED = 64  # steps that are held against the float64 reference
DRY, DRY_STEPS = "dry", 3
USUAL = {"batch": 16, "hidden_size": 128}  # where all backends are taken, and traces are kept


@dataclass(frozen=True)
class Grid:
    """What is combined. A dry grid has few steps, and its cases are marked."""

    cells: Sequence[str] = CELLS
    batches: Sequence[int] = BATCHES
    sizes: Sequence[int] = SIZES
    dtypes: Sequence[str] = DTYPE
    backends: Sequence[str] = BACKENDS
    steps: int = STEPS
    dry: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError for a name or a size that there is not."""
        for spec in self.cells:
            cells.get(spec)
        for backend in self.backends:
            cells.backend(backend)
        if unknown := set(self.dtypes) - set(FORMATS):
            raise ValueError(f"{min(unknown)!r} is no number format; formats: {', '.join(FORMATS)}")
        numbers = [self.steps, *self.batches, *self.sizes]
        if any(number < 1 for number in numbers):
            raise ValueError(f"{min(numbers)} is no size; sizes are whole numbers from 1 on")

    @property
    def definition(self) -> dict[str, Any]:
        """As a run's manifest has it."""
        return {name: plain(value) for name, value in vars(self).items()}

    def cases(self) -> list[Case]:
        """All cases, those that are timed together in a row."""
        return [
            case
            for spec in self.cells
            for dtype in self.dtypes
            for direction in DIRECTIONS
            for hidden in self.sizes
            for batch in self.batches
            for case in self.together(spec, dtype, direction, batch, hidden)
        ]

    def together(self, spec: str, dtype: str, direction: str, batch: int, hidden: int) -> list[Case]:
        """A case of each backend; what takes long is taken at few sizes."""
        sizes: dict[str, Any] = {"batch": batch, "hidden_size": hidden}
        usual = sizes == USUAL or (self.batches, self.sizes) == ((batch,), (hidden,))
        few = () if usual else (*SLOW, CAPTURED) if batch < max(self.batches) else SLOW
        return [
            Case(
                "throughput",
                spec,
                backend,
                "cuda",
                dtype,
                steps=self.steps,
                input_size=hidden,
                **sizes,
                direction=direction,
                variant=DRY if self.dry else None,
            )
            for backend in self.backends
            if backend not in few
        ]


def usual(case: Case) -> bool:
    """Whether a case is of the usual sizes, of which more is kept."""
    return all(getattr(case, name) == value for name, value in USUAL.items())


def growing(case: Case) -> Case | None:
    """What the case's error is followed over T with: one sequence, at the usual sizes; else None.

    What compiles for long is left out: it would be compiled once more, or for each T.
    """
    if not usual(case) or case.direction != "backward" or case.backend in LONG:
        return None
    return replace(case, batch=1)


def comparisons(cases: Sequence[Case]) -> list[list[Case]]:
    """Cases that differ in their backend only, together."""
    groups: dict[Case, list[Case]] = {}
    for case in cases:
        groups.setdefault(replace(case, backend=None), []).append(case)
    return list(groups.values())


def plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
