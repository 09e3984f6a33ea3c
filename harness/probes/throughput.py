"""How fast is a cell on each backend: forward, and forward and backward together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from time import perf_counter
from typing import Any

import numpy as np

from cellbench import cells
from cellbench.cells.programs.program import Program

from ..case import Case
from ..measure.clocks import Wall, clock_of
from ..measure.memory import peak_bytes
from ..measure.timing import Timed, interleave
from ..probe import Emit, Plan, Probe, Series, cell_of, series
from ..programs import Inputs, beside_prediction, check, inputs, prepare, unwarned
from . import _device

BASE = "native"  # what ratios are taken to


@dataclass(frozen=True)
class Throughput(Probe):
    """Seconds of one run, in fresh processes that time one cell's backends together, in random order.

    processes   how many; the interval is taken over them
    samples     of each backend in each process
    sample_s    about how long a sample takes (several runs if one is shorter)
    shortest    lengths of the sequences, spread evenly over the batch: from shortest * steps to steps
    On one thread of the CPU, the time for which other work had the core is no part of the seconds. A token is
    one step of one sequence. Below shortest = 1 those within a sequence (useful) and beyond it (padded) are
    counted apart, and FLOP are those of the useful ones.
    """

    processes: int = 3
    samples: int = 10
    sample_s: float = 0.005
    shortest: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.shortest <= 1:
            raise ValueError(
                f"throughput has shortest={self.shortest}; it must be above 0 and at most 1, a share of steps"
            )

    @property
    def repeats(self) -> int:  # type: ignore[override]  # of the base it is a constant
        return self.processes

    def cases(self, plan: Plan) -> list[Case]:
        return plan.runs(self.name)

    def measure(self, case: Case, emit: Emit) -> tuple[Any, ...]:
        """Prepares and checks; takes the time of the first call, preparing included, and the peak memory.

        On CUDA launches and saved bytes a step stand beside it, and what a backend predicts; that stands
        alone where there is no device.
        """
        with beside_prediction(case) as (prediction, line):
            implementation, measured = self.first(case)
        return implementation, [*measured, *prediction], line

    def first(self, case: Case) -> tuple[str, list[Series]]:
        """What really runs, and what is measured once."""
        given = self.inputs(case)
        # imports what the backend needs, which is no part of the first call
        cells.backend(case.backend).unavailable(case.device)
        start = perf_counter()
        program = self.loaded(case, given)
        with unwarned():
            program.run()
            program.sync()
            first_call_s = perf_counter() - start
            error, allowed = check(program.read(), given, case)
        implementation = program.implementation
        on_device = self.a_step(case, given, program)
        del program  # whose memory would count as in use before the peak
        peak = peak_bytes(lambda: self.once(case, given), case.device)
        return implementation, [
            series("first_call_s", "s", first_call_s),
            series("peak_bytes", "B", peak),
            series("check_error", "1", error),
            series("check_tolerance", "1", allowed),
            *on_device,
        ]

    def a_step(self, case: Case, given: Inputs, program: Program) -> list[Series]:
        """What a step launches and saves on a device."""
        if case.device != "cuda":
            return []
        return _device.a_step(program, partial(self.loaded, case, given))[0]

    def inputs(self, case: Case) -> Inputs:
        several = None if self.shortest == 1 else lengths(case.steps, case.batch, self.shortest)
        return inputs(case, lengths=several)

    def loaded(self, case: Case, given: Inputs) -> Program:
        program = prepare(case, given.params, given.lengths)
        program.load(given.x, None, given.d_output)
        return program

    def once(self, case: Case, given: Inputs) -> Program:
        program = self.loaded(case, given)
        program.run()
        program.sync()
        return program

    def comparisons(self, cases: list[Case]) -> list[list[Case]]:
        """All backends of a cell at one workload, so that each ratio is taken inside a process."""
        return [
            list(g)
            for _, g in groupby(
                cases, key=lambda c: (c.spec, c.steps, c.batch, c.input_size, c.hidden_size, c.direction)
            )
        ]

    def compare(self, cases: list[Case], process: int, emit: Emit) -> None:
        given, rng = self.inputs(cases[0]), np.random.default_rng(process)
        programs = {case.backend: self.loaded(case, given) for case in cases}
        timed = {b: Timed(p.run, p.sync) for b, p in programs.items()}
        alive = partial(emit, (cases[0].id, []))  # so that a silence longer than case_timeout_s is a hang
        clock = clock_of(cases[0].device) if cases[0].threads == 1 else Wall()
        seconds = interleave(timed, self.samples, rng, clock, sample_s=self.sample_s, between=alive)
        median = {b: float(np.median(s)) for b, s in seconds.items()}
        for case in cases:
            emit((case.id, self.rates(case, seconds[case.backend], median, process, given.lengths)))

    def rates(
        self,
        case: Case,
        seconds: Sequence[float],
        median: dict[str, float],
        process: int,
        lengths: np.ndarray | None = None,
    ) -> list[Series]:
        once, tokens = median[case.backend], case.steps * case.batch
        useful = tokens if lengths is None else int(lengths.sum())
        flop = useful * cell_of(case).operations(case.input_size, case.hidden_size).of(case.direction)
        ratio = (
            [series("ratio_to_native", "1", median[BASE] / once, process=process)] if BASE in median else []
        )
        return [
            series("seconds", "s", seconds, process=process),
            series("steps_per_s", "1/s", case.steps / once, process=process),
            series("sequences_per_s", "1/s", case.batch / once, process=process),
            series("flop_per_s", "FLOP/s", flop / once, process=process),
            *ratio,
            *([] if lengths is None else apart(useful, tokens - useful, once, process)),
        ]

    def estimate_s(self, case: Case) -> float:
        return {"numpy": 0.3, "numba": 1.5, "numba:mode=scan": 1.5}.get(case.backend, 1.0)

    def estimate_repeat_s(self, case: Case) -> float:
        slow = {"numba": 5e-6, "numba:mode=scan": 5e-6, "torch:mode=scan": 5e-6, "native": 1e-4}.get(
            case.backend, 1.5e-4
        )
        return 0.3 + (self.samples + 3) * max(self.sample_s, slow * case.steps)


def lengths(steps: int, batch: int, shortest: float) -> np.ndarray:
    """(B,) whole numbers from steps down to shortest * steps, at least 1."""
    return np.maximum(1, np.rint(np.linspace(steps, shortest * steps, batch))).astype(int)


def apart(useful: int, padded: int, seconds: float, process: int) -> list[Series]:
    """Tokens of one run, and useful ones a second."""
    return [
        series("useful_tokens", "1", useful, process=process),
        series("padded_tokens", "1", padded, process=process),
        series("useful_tokens_per_s", "1/s", useful / seconds, process=process),
    ]
