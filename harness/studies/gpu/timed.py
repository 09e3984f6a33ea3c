"""Comparisons checked and timed on a device: in a worker, one after the other."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from cellbench.cells.backends import _cudnn

from ...case import Case
from ...measure.board import board, energy_of, throttled
from ...measure.clocks import clock_of
from ...measure.memory import peak_bytes
from ...measure.timing import Timed, interleave
from ...probe import CaseResult, Emit, NotOk, Series, series
from ...probes.error_growth import growth
from ...probes.throughput import Throughput
from ...programs import beside_prediction, check, inputs, prepare
from ...store import atomic
from .grid import CHECKED, comparisons, growing, usual

SAMPLES, SAMPLE_S = 10, 0.005
NO_COUNTER = "the board counts no energy"
PROBE = Throughput()


def time(emit: Emit, cases: list[Case], folder: str) -> None:
    """Runs in a worker. Emits (case id, CaseResult) of each; kernel names and traces go into the folder."""
    for together in comparisons(cases):
        ready: dict[str, tuple[Case, str | None, list[Series]]] = {}
        for case in together:
            try:
                with beside_prediction(case) as (prediction, line):
                    first = checked(case)
                ready[case.backend] = case, line, [*first, *prediction]
            except NotOk as stop:
                emit((case.id, CaseResult(stop.status, stop.reason, series=stop.series)))
        if ready:
            compare(emit, ready, Path(folder))


def checked(case: Case) -> list[Series]:
    """Over the first steps, as a reference of all of them takes minutes."""
    short = replace(case, steps=min(case.steps, CHECKED))
    given = inputs(short)
    program = prepare(short, given.params)
    program.load(given.x, None, given.d_output)
    program.run()
    error, allowed = check(program.read(), given, short)
    over = growing(case)
    more = growth(over)[1] if over else []
    return [series("check_error", "1", error), series("check_tolerance", "1", allowed), *more]


def compare(emit: Emit, ready: dict[str, tuple[Case, str | None, list[Series]]], folder: Path) -> None:
    """Times the programs of a comparison in random order, and notes the kernels of each."""
    any_case = next(iter(ready.values()))[0]
    given, programs, peaks = inputs(any_case), {}, {}
    for name, (case, _, _) in ready.items():
        peaks[name] = peak_bytes(partial(PROBE.once, case, given), case.device)
        programs[name] = PROBE.loaded(case, given)
    timed = {name: Timed(program.run, program.sync) for name, program in programs.items()}
    alive = partial(emit, (any_case.id, []))
    clock = clock_of(any_case.device)
    on, untold = board()
    before = on.read() if on else None
    seconds = interleave(timed, SAMPLES, np.random.default_rng(0), clock, SAMPLE_S, alive)
    if on and before and (reason := throttled(before, on.read())):
        for case, _, first in ready.values():
            emit((case.id, CaseResult("skipped", reason, series=first)))
        return
    median = {name: float(np.median(values)) for name, values in seconds.items()}
    for name, (case, line, first) in ready.items():
        rates = PROBE.rates(case, seconds[name], median, 0)
        measured = [*first, series("peak_bytes", "B", peaks[name]), *rates]
        said = line
        if usual(case):
            joules = energy_of(programs[name].run, programs[name].sync, on)
            measured.append(series("energy_j", "J", joules))
            if math.isnan(joules):
                said = "; ".join(filter(None, (line, f"energy_j is null: {untold or NO_COUNTER}")))
        note(case, programs[name], folder)
        emit((case.id, CaseResult("ok", said, programs[name].implementation, measured)))


def note(case: Case, program: Any, folder: Path) -> None:
    """Writes the names of the kernels of a run with their launches; at the usual sizes a trace too."""
    trace = folder / f"{case.id}.trace.json" if usual(case) else None
    found = _cudnn.launches(program.run, trace)
    about = {"case": str(case), "dtype": case.dtype, "steps": case.steps, "launches": found}
    atomic.write_json(folder / f"{case.id}.json", about, indent=1)
