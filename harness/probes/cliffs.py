"""Where does time jump, as sizes, layers and formats change a little?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cellbench import cells
from cellbench.cells.contract import MOST_LAYERS
from cellbench.cells.programs.formats import DTYPES, FORMATS
from cellbench.cells.programs.program import Program

from ..case import Case
from ..measure.cliffs import jumps
from ..measure.clocks import Wall, clock_of
from ..measure.timing import Timed, interleave
from ..probe import Emit, NotOk, Plan, Probe, cell_of, series
from ..programs import checked, inputs

AXES = {"hidden_size": "hidden_sizes", "batch": "batches", "layers": "layers", "dtype": "dtypes"}
NARROW_FIRST = tuple(reversed(DTYPES))  # positions of formats on their axis
REFUSED = ("unsupported", "unavailable")
SHOWN = 2  # points that are named with why they cannot run


@dataclass(frozen=True)
class Cliffs(Probe):
    """Seconds of a run along an axis: hidden size and batch around powers of two, layers, number formats.

    hidden_sizes, batches, layers, dtypes   the points of each axis, a variant each; [] leaves it out
    samples     of each point, all points in turns, in random order
    sample_s    about how long a sample takes (several runs if one is shorter)
    threshold   a jump is time that grows this many times more than the work, or falls by as much
    Each point is checked first. Work is FLOP; of formats it is FLOP times the bytes of a number. Of several
    workload.steps the smallest is taken.
    """

    hidden_sizes: tuple[int, ...] = (63, 64, 65, 127, 128, 129, 191, 192, 193, 255, 256, 257)
    batches: tuple[int, ...] = (1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33)
    layers: tuple[int, ...] = (1, 2, 3, 4)
    dtypes: tuple[str, ...] = NARROW_FIRST
    samples: int = 15
    sample_s: float = 0.005
    threshold: float = 1.25

    def __post_init__(self) -> None:
        if not self.threshold > 1:
            raise ValueError(f"cliffs has threshold={self.threshold}; it must be above 1, such as 1.25")
        if self.samples < 1:
            raise ValueError(f"cliffs has samples={self.samples}; it must be at least 1")
        for name in ("hidden_sizes", "batches", "layers"):
            points = list(getattr(self, name))
            if points != sorted({point for point in points if point >= 1}):
                raise ValueError(
                    f"cliffs has {name}={points}; they must be whole numbers that rise, from 1 on"
                )
        if any(count > MOST_LAYERS for count in self.layers):
            raise ValueError(f"cliffs has layers={list(self.layers)}; they must be at most {MOST_LAYERS:,}")
        formats = list(self.dtypes)
        if formats != [name for name in NARROW_FIRST if name in formats]:
            raise ValueError(
                f"cliffs has dtypes={formats}; it may have {', '.join(NARROW_FIRST)}, in this order"
            )
        if not any(self.points(axis) for axis in AXES):
            raise ValueError(f"cliffs has no points; give one of {', '.join(AXES.values())}")

    def points(self, axis: str) -> Sequence[Any]:
        """The points of an axis, in order."""
        return getattr(self, AXES[axis])

    def cases(self, plan: Plan) -> list[Case]:
        shortest = min(plan.steps)
        return [
            replace(case, variant=axis)
            for case in plan.runs(self.name)
            if case.steps == shortest
            for axis in AXES
            if self.points(axis)
        ]

    def measure(self, case: Case, emit: Emit) -> tuple[Any, ...]:
        """Checks the program of every point, then times all of them in turns."""
        ready: dict[int, tuple[Case, Program]] = {}
        refused: dict[str, NotOk] = {}
        for k, point in enumerate(self.points(case.variant)):
            here = moved(case, point)
            try:
                ready[k] = here, program_of(here)
            except NotOk as stop:
                where = f"{case.variant}={point}"
                if stop.status not in REFUSED:
                    raise NotOk(stop.status, f"at {where}: {stop.reason}") from None
                refused[where] = stop
            emit((case.id, []))  # so that a silence longer than case_timeout_s is a hang
        if not ready:
            first = next(iter(refused.values()))
            raise NotOk(first.status, first.reason)
        ran = sorted({program.implementation for _, program in ready.values()})
        seconds = self.seconds(case, ready, lambda: emit((case.id, [])))
        lag = [self.lag(case.variant, k) for k in ready]
        median = {k: float(np.median(values)) for k, values in seconds.items()}
        rows = [
            series("seconds", "s", median.values(), lag),
            series("seconds_per_flop", "s", [median[k] / flop(here) for k, (here, _) in ready.items()], lag),
        ]
        every = range(len(self.points(case.variant)))
        work = [flop(ready[k][0]) * size(case, ready[k][0]) if k in ready else 1.0 for k in every]
        found = jumps(work, [seconds.get(k, []) for k in every], self.threshold)
        if found:
            at = [self.lag(case.variant, jump.at) for jump in found]
            rows.append(series("jump", "1", [jump.ratio for jump in found], at))
        return "; ".join(ran), rows, told(refused)

    def lag(self, axis: str, k: int) -> int:
        """Where the k-th point lies: its value; of a format its place in NARROW_FIRST."""
        point = self.points(axis)[k]
        return NARROW_FIRST.index(point) if axis == "dtype" else int(point)

    def seconds(
        self, case: Case, ready: dict[int, tuple[Case, Program]], alive: Callable[[], None]
    ) -> dict[int, list[float]]:
        """Samples of every point's run."""
        timed = {str(k): Timed(program.run, program.sync) for k, (_, program) in ready.items()}
        clock = clock_of(case.device) if case.threads == 1 else Wall()
        rng = np.random.default_rng(0)
        samples = interleave(timed, self.samples, rng, clock, self.sample_s, alive)
        return {int(k): values for k, values in samples.items()}

    def estimate_s(self, case: Case) -> float:
        return 1.5 * len(self.points(case.variant))


def moved(case: Case, point: Any) -> Case:
    """The case at a point of its axis."""
    if case.variant != "layers":
        return replace(case, **{case.variant: point})
    words = [word for word in case.spec.split(":") if not word.startswith("layers=")]
    return replace(case, spec=":".join([*words, *([f"layers={point}"] if point > 1 else [])]))


def program_of(case: Case) -> Program:
    """The checked program of a point."""
    if reason := cell_of(case).unfit(case.input_size, case.hidden_size):
        raise NotOk("unsupported", reason)
    return checked(case, inputs(case))


def flop(case: Case) -> float:
    """FLOP of a run."""
    operations = cells.get(case.spec).operations(case.input_size, case.hidden_size)
    return case.steps * case.batch * operations.of(case.direction)


def size(case: Case, point: Case) -> int:
    """What work is counted in beside FLOP: bytes of a number, where the axis is that of formats."""
    return FORMATS[point.dtype].size if case.variant == "dtype" else 1


def told(refused: dict[str, NotOk]) -> str | None:
    """The points that cannot run, with why; None where all can."""
    shown = [f"not at {where}: {stop.reason}" for where, stop in list(refused.items())[:SHOWN]]
    rest = len(refused) - len(shown)
    return "; ".join(shown + ([f"nor at {rest} more"] if rest else [])) or None
