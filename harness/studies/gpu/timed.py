"""Cases checked on a device, in workers side by side; then their comparisons timed, one after the other."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from cellbench.cells.programs.program import Program

from ...case import Case
from ...measure.board import board, energy_of, throttled
from ...measure.clocks import Clock, clock_of
from ...measure.memory import peak_bytes
from ...measure.timing import Timed, interleave
from ...probe import CaseResult, Emit, NotOk, Series, series
from ...probes import _device
from ...probes.error_growth import growth
from ...probes.throughput import Throughput
from ...programs import Inputs, beside_prediction, check, inputs
from ...store import atomic
from .grid import CHECKED, growing, usual
from .without_product import METRIC, kernels_of
from .without_product import hold as hold_alone

SAMPLES, SAMPLE_S = 10, 0.005
NO_COUNTER = "the board counts no energy"
PROBE = Throughput()


@dataclass(frozen=True)
class Ready:
    """A case that was checked: its line, and what was measured on the way."""

    line: str | None
    series: list[Series]


def hold(emit: Emit, cases: list[Case], folder: str) -> None:
    """Runs in a worker: holds each case against the reference. Emits (case id, Ready), or how it ended.

    Compilers keep what they make in their caches, so that whoever times a case finds it there. Names and
    traces of the kernels that the usual sizes launch go into the folder.
    """
    # few and small kernels: threads of inductor's own would be more than there are cores
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
    for case in cases:
        try:
            with beside_prediction(case) as (prediction, line):
                first = checked(case, Path(folder))
            emit((case.id, Ready(line, [*first, *prediction])))
        except NotOk as stop:
            emit((case.id, CaseResult(stop.status, stop.reason, series=stop.series)))


def checked(case: Case, folder: Path) -> list[Series]:
    """Over the first steps, as a reference of all of them takes minutes."""
    short = replace(case, steps=min(case.steps, CHECKED))
    given = inputs(short)
    program = PROBE.once(short, given)
    error, allowed = check(program.read(), given, short)
    hold_alone(program)
    more = note(short, given, program, folder / case.id) if usual(case) else []
    over = growing(case)
    more += growth(over)[1] if over else []
    return [series("check_error", "1", error), series("check_tolerance", "1", allowed), *more]


def time(emit: Emit, groups: list[list[Case]], ready: dict[str, Ready]) -> None:
    """Runs in a worker, over comparisons of checked cases. Emits (case id, CaseResult) of each case."""
    for together in groups:
        compare(emit, together, ready)


def compare(emit: Emit, cases: list[Case], ready: dict[str, Ready]) -> None:
    """Times the programs of a comparison in random order; one that is refused ends, and the others go on."""
    any_case = cases[0]
    given, programs, peaks = inputs(any_case), {}, {}
    for case in cases:
        try:
            programs[case.backend], peaks[case.backend] = loaded(case, given)
        except NotOk as stop:
            emit((case.id, CaseResult(stop.status, stop.reason, series=ready[case.id].series)))
    if not programs:
        return
    cases = [case for case in cases if case.backend in programs]
    timed = {name: Timed(program.run, program.sync) for name, program in programs.items()}
    alive = partial(emit, (any_case.id, []))
    clock = clock_of(any_case.device)
    on, untold = board()
    before = on.read() if on else None
    seconds = interleave(timed, SAMPLES, np.random.default_rng(0), clock, SAMPLE_S, alive)
    if on and before and (reason := throttled(before, on.read())):
        for case in cases:
            emit((case.id, CaseResult("skipped", reason, series=ready[case.id].series)))
        return
    median = {name: float(np.median(values)) for name, values in seconds.items()}
    alone = without(programs, clock, alive)
    for case in cases:
        name, said = case.backend, ready[case.id].line
        rates = PROBE.rates(case, seconds[name], median, 0)
        rates += _device.rates(case, median[name])
        if name in alone:
            rates.append(series(METRIC, "s", alone[name], process=0))
        measured = [*ready[case.id].series, series("peak_bytes", "B", peaks[name]), *rates]
        if usual(case):
            joules = energy_of(programs[name].run, programs[name].sync, on)
            measured.append(series("energy_j", "J", joules))
            if math.isnan(joules):
                said = "; ".join(filter(None, (said, f"energy_j is null: {untold or NO_COUNTER}")))
        emit((case.id, CaseResult("ok", said, programs[name].implementation, measured)))


def without(
    programs: dict[str, Program], clock: Clock, alive: Callable[[], object]
) -> dict[str, list[float]]:
    """Seconds of the kernels that leave out the product of the inputs, without it, by backend."""
    some = {name: kernels for name, one in programs.items() if (kernels := kernels_of(one))}
    timed = {name: Timed(kernels.run, kernels.sync) for name, kernels in some.items()}
    if not timed:
        return {}
    return interleave(timed, SAMPLES, np.random.default_rng(0), clock, SAMPLE_S, alive)


def loaded(case: Case, given: Inputs) -> tuple[Program, int]:
    """A program that has run once, and the memory that it took at its peak."""
    made: list[Program] = []
    peak = peak_bytes(lambda: made.append(PROBE.once(case, given)), case.device)
    return made[0], peak


def note(case: Case, given: Inputs, program: Program, path: Path) -> list[Series]:
    """Writes the names of the kernels of a run with their launches, and its trace; what a step takes."""
    fresh = partial(PROBE.loaded, case, given)
    measured, found = _device.a_step(program, fresh, path.with_name(f"{path.name}.trace.json"))
    about = {"case": str(case), "dtype": case.dtype, "steps": case.steps, "launches": found}
    atomic.write_json(path.with_name(f"{path.name}.json"), about, indent=1)
    return measured
