"""How long does one step take, for who serves a cell: the state is kept, and steps come one by one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np

from cellbench.cells.programs.program import Forward, Program

from ..case import Case
from ..measure.clocks import Wall
from ..measure.timing import collector_off
from ..probe import Emit, NotOk, Plan, Probe, series
from ..programs import Inputs, check, inputs, prepare

CHECKED = 16  # steps that are held against the float64 reference
IN_A_ROW = 50  # steps of one backend, before another one's turn


@dataclass(frozen=True)
class Latency(Probe):
    """Median and 99th percentile of the seconds of one step, from a NumPy array to a NumPy array.

    calls      steps of each backend in each process
    processes  how many; the interval is taken over them
    The backends of a cell take turns of some steps in a row. The clock is the wall's: a wait for a core is
    part of a latency. `workload.steps` has no influence, and what cannot take single steps is unsupported.
    """

    calls: int = 5000
    processes: int = 3

    def __post_init__(self) -> None:
        if self.calls < IN_A_ROW:
            raise ValueError(f"latency has calls={self.calls}; it must be at least {IN_A_ROW}")

    @property
    def repeats(self) -> int:  # type: ignore[override]  # of the base it is a constant
        return self.processes

    def cases(self, plan: Plan) -> list[Case]:
        sizes = {tuple({**size, "steps": CHECKED}.items()): None for size in plan.sizes}
        return [
            Case(self.name, c, b, plan.device, plan.dtype, plan.threads, **dict(size), direction="forward")
            for c in plan.cells
            for size in sizes
            for b in plan.backends
        ]

    def measure(self, case: Case, emit: Emit) -> tuple[Any, ...]:
        given = inputs(case)
        program = ready(case, given)
        outputs = np.stack([program.step(x) for x in given.x])
        error, allowed = check((Forward(outputs, program.stream_state()), None), given, case)
        return program.implementation, [
            series("check_error", "1", error),
            series("check_tolerance", "1", allowed),
        ]

    def comparisons(self, cases: list[Case]) -> list[list[Case]]:
        return [list(g) for _, g in groupby(cases, key=lambda c: replace(c, backend=""))]

    def compare(self, cases: list[Case], process: int, emit: Emit) -> None:
        given, rng, clock = inputs(cases[0]), np.random.default_rng(process), Wall()
        programs = {case.id: ready(case, given) for case in cases}
        seconds: dict[str, list[float]] = {case.id: [] for case in cases}
        for program in programs.values():
            take(program, given, clock, [])
        with collector_off():
            for _ in range(-(-self.calls // IN_A_ROW)):
                for k in rng.permutation(len(cases)):
                    take(programs[cases[k].id], given, clock, seconds[cases[k].id])
                emit((cases[0].id, []))  # so that a silence longer than case_timeout_s is a hang
        for case in cases:
            median, p99 = np.quantile(seconds[case.id], [0.5, 0.99])
            emit(
                (
                    case.id,
                    [
                        series("step_median_s", "s", median, process=process),
                        series("step_p99_s", "s", p99, process=process),
                    ],
                )
            )

    def estimate_repeat_s(self, case: Case) -> float:
        return 1.0 + 1e-4 * self.calls


def ready(case: Case, given: Inputs) -> Program:
    """The program, at the start of a stream. Raises NotOk where it cannot take single steps."""
    program = prepare(case, given.params)
    try:
        program.reset()
    except ValueError as error:
        raise NotOk("unsupported", str(error)) from None
    return program


def take(program: Program, given: Inputs, clock: Wall, seconds: list[float]) -> None:
    """Some steps in a row, each timed by itself."""
    clock.time(work(program, given, seconds))


def work(program: Program, given: Inputs, seconds: list[float]) -> Iterator[Any]:
    """The steps as a clock takes them; a step has ended when it returns."""
    for k in range(IN_A_ROW):
        yield partial(program.step, given.x[k % len(given.x)]), _ended, seconds.append


def _ended() -> None:
    """Nothing is left to wait for."""
