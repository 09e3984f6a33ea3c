"""Times a point in one process: the kernels and their peers in random order, built anew several times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter, process_time, thread_time
from typing import Any

import numpy as np

from cellbench import cells

from ... import programs
from ...measure import ceilings
from ...measure.clocks import Clock, clock_of, waiting
from ...measure.conditions import observe
from ...measure.pair import Build, built, trouble_of
from ...measure.roofline import ARITHMETIC, Bound
from ...measure.timing import Timed, collector_off, loops_for, rounds, warm_up
from ...probes.roofline import least_time
from ...regress.two_sides import loaded, timed
from .points import OWN, Point

BUILDS, BUILD_S, SAMPLE_S = 3, 0.06, 0.001  # of an arm: builds, and about the seconds timed in each
ROUNDS = (3, 25)  # fewest and most of a build
CEILING = "ceiling"  # an arm beside the backends: multiply-adds that wait for nothing
DTYPE = "float32"  # of all points


@dataclass
class Timing:
    """What one process says of a point; backends that could not run or were wrong are in `troubles`.

    seconds   median of one run, by backend
    logs      log of a peer's time over the kernels', a value for each build, by peer
    errors    relative to the float64 reference, by backend, where this process checked
    waited    share of the time for which other work had the core; null where the system does not tell
    share     of the least time that the shape allows in the kernels' time (see measure/roofline.py). What
              arithmetic allows is measured in the same rounds: the core's speed changes with its neighbours.
    others    share of this process's processor time that threads but the timing one used
    """

    seconds: dict[str, float] = field(default_factory=dict)
    logs: dict[str, list[float]] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    ran: dict[str, str] = field(default_factory=dict)
    troubles: dict[str, str] = field(default_factory=dict)
    share: float | None = None
    bound_by: str = ""
    load: float = 0.0
    cores: int = 1
    waited: float | None = None
    others: float = 0.0


def time_points(
    emit: Callable[[Any], None],
    points: Sequence[Point],
    peers: dict[str, tuple[str, ...]],
    seed: Sequence[int],
    checked: bool,
) -> None:
    """Runs in the worker: emits (point, Timing) for each, in random order."""
    rng = np.random.default_rng(list(seed))
    for k in rng.permutation(len(points)):
        emit((points[k], time_point(points[k], peers[points[k].direction], rng, clock_of("cpu"), checked)))


def time_point(
    point: Point, peers: Sequence[str], rng: np.random.Generator, clock: Clock, checked: bool = True
) -> Timing:
    """The timing of one point; `checked` holds each backend against the float64 reference first."""
    timing, before = Timing(), observe()
    given = programs.inputs(point.case(OWN))
    expected = programs.reference(given, point.case(OWN)) if checked else None
    builds: dict[str, Build] = {}
    for backend in (OWN, *peers):
        try:
            builds[backend] = ready(point, backend, given, expected, timing)
        except Exception as error:  # a backend that fails is told of, and the others are timed
            trouble = trouble_of(error)
            timing.troubles[backend] = f"{trouble.status}: {trouble.reason}"
    if builds:
        least, _ = least_time(point.case(OWN), ceilings.machine()) if OWN in builds else (None, "")
        time_builds(builds, timing, rng, clock, least)
    seen = before.until(observe())
    timing.load, timing.cores = seen.load, seen.cores
    return timing


def ready(
    point: Point,
    backend: str,
    given: programs.Inputs,
    expected: dict[str, np.ndarray] | None,
    timing: Timing,
) -> Build:
    """How a backend's arm is built; it has run once, and was right where there is something expected."""
    case = point.case(backend)
    load = partial(loaded, case, given, cells)
    program = load()
    program.run()
    if expected is not None:
        timing.errors[backend] = programs.check(program.read(), given, case, expected=expected)[0]
    timing.ran[backend] = program.implementation
    return lambda: timed(load())


def time_builds(
    builds: dict[str, Build],
    timing: Timing,
    rng: np.random.Generator,
    clock: Clock,
    least: Bound | None = None,
) -> None:
    """Fills in what is timed, and the share of the least time, where that is known."""
    if least is not None and least.by == ARITHMETIC:  # reads would empty the caches of the other arms
        run, _ = ceilings.arithmetic(DTYPE)
        builds = builds | {CEILING: lambda: Timed(run, lambda: None)}
    waited = waiting()
    start, used, own = perf_counter(), process_time(), thread_time()
    lost = waited() if waited else 0.0
    samples: dict[str, list[list[float]]] = {name: [] for name in builds}
    with collector_off():
        count, n = 1, 0
        while n < count:
            arms = built(builds, rng)
            run_s = {name: fastest(arm, clock) for name, arm in arms.items()}
            slowest = max(run_s.values())
            count, n = int(np.clip(BUILD_S * BUILDS / slowest, 1, BUILDS)), n + 1
            loops = {name: loops_for(seconds, SAMPLE_S) for name, seconds in run_s.items()}
            each = int(np.clip(BUILD_S / max(slowest, SAMPLE_S), *ROUNDS))
            for name, values in rounds(arms, loops, each, rng, clock).items():
                samples[name].append(values)
            arms.clear()
    used, own = process_time() - used, thread_time() - own
    timing.others = max(0.0, 1 - own / used) if used > 0 else 0.0
    timing.waited = (waited() - lost) / (perf_counter() - start) if waited else None
    ceiling = samples.pop(CEILING, None)
    timing.seconds = {name: float(np.median(np.concatenate(rows))) for name, rows in samples.items()}
    if least is not None:
        shares = allowed(least, ceiling) / np.concatenate(samples[OWN])
        timing.share, timing.bound_by = float(np.median(shares)), least.by
    for peer in samples:
        if peer != OWN and OWN in samples:
            pairs = zip(samples[peer], samples[OWN], strict=True)
            timing.logs[peer] = [float(np.median(np.log(b) - np.log(a))) for b, a in pairs]


def allowed(least: Bound, ceiling: list[list[float]] | None) -> Any:
    """The least seconds of each round, by the ceiling's seconds in it; all alike where it was not timed."""
    if ceiling is None:
        return least.seconds
    _, flop = ceilings.arithmetic(DTYPE)
    return least.seconds * np.concatenate(ceiling) * ceilings.machine()["flop_per_s"][DTYPE] / flop


def fastest(arm: Timed, clock: Clock) -> float:
    """Seconds of the fastest of a few runs, which warm the arm."""
    return warm_up(arm, clock, at_least_s=0.01, at_least_runs=1)
