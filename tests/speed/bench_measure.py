"""Benchmarks of the harness itself: what a sample costs beyond its two clock calls, and how much of measuring
is not measuring.

pytest tests/bench_measure.py --benchmark-enable -s. A sample is to cost at most 100 ns more than two clock
calls and the work, here two empty calls; the clock that takes off waiting for a core asks the kernel twice a
sample besides, which is told apart. The measuring phase of a pair (`rounds`: orders drawn, a collection, the
timed rounds) is to spend at most 1 % outside what is timed; building and warming the arms is no part of that
phase, and what waiting takes off a sample was timed all the same. Costs are the least of many short spans,
since other work only ever adds.
"""

from functools import partial
from itertools import repeat
from time import perf_counter

import numpy as np
import pytest

from cellbench.harness.case import Case
from cellbench.harness.measure.clocks import OnCore, Wall, waiting
from cellbench.harness.measure.pair import ARMS, Effort, built
from cellbench.harness.measure.timing import Timed, collector_off, loops_for, rounds, warm_up
from cellbench.harness.regress.two_sides import Side, make

FEW, MANY, SPANS = 100, 400, 400
CASE = Case("bench", "gru", "numba", "cpu", "float32", 1, 64, 16, 32, 64, "forward")


def nothing():
    pass


def empty(count):
    for _ in repeat(None, count):
        pass


def clock_calls(count, now=perf_counter):
    for _ in repeat(None, count):
        now()
        now()


def work(count, run=nothing):
    for _ in repeat(None, count):
        run()
        run()


def samples(clock, count):
    items = dict.fromkeys(ARMS, Timed(nothing, nothing))
    rounds(items, dict.fromkeys(ARMS, 1), count // len(ARMS), np.random.default_rng(0), clock)


def reading():
    """The clock of a comparison, which reads how long the thread waited, but takes nothing off; the wall's
    where none tells.
    """
    waited = waiting()
    return OnCore(lambda: 0.0 * waited()) if waited else Wall()


def least(function, count):
    found = []
    for _ in range(SPANS):
        start = perf_counter()
        function(count)
        found.append(perf_counter() - start)
    return min(found)


def each_s(function):
    """Seconds for one more, without what is done once."""
    few, many = len(ARMS) * FEW, len(ARMS) * MANY
    return (least(function, many) - least(function, few)) / (many - few)


@pytest.mark.parametrize("clock", [Wall(), reading()], ids=["wall", "less waiting"])
def test_a_sample(benchmark, clock):
    with collector_off():
        benchmark(samples, clock, len(ARMS) * FEW)
        loop, clocks, calls, whole = (each_s(f) for f in (empty, clock_calls, work, partial(samples, clock)))
    beyond = whole - (clocks - loop) - (calls - loop)
    benchmark.extra_info |= {"beyond_s": beyond, "clock_calls_s": clocks - loop, "sample_s": whole}
    print(
        f"\na sample {whole * 1e9:.0f} ns, its two clock calls {(clocks - loop) * 1e9:.0f}, beyond"
        f" {beyond * 1e9:.0f}"
    )


def test_the_measuring_phase(benchmark):
    """Of a real kernel in the rounds that one process gives each build, as the default effort plans them."""
    effort, rng = Effort(), np.random.default_rng(0)
    a, b = make(Side(CASE), Side(CASE))
    arms = built({"a": a, "b": b, "again": a}, rng)
    run_s = float(np.median([warm_up(timed) for timed in arms.values()]))
    count, loops = effort.plan(run_s)[1], loops_for(run_s, effort.sample_s)
    clock, shares = reading(), []

    def phase():
        start = perf_counter()
        found = rounds(arms, dict.fromkeys(ARMS, loops), count, rng, clock)
        whole = perf_counter() - start
        shares.append(1 - loops * sum(map(sum, found.values())) / whole)

    with collector_off():
        benchmark(phase)
    benchmark.extra_info |= {"outside_share": float(np.median(shares)), "rounds": count, "loops": loops}
    print(
        f"\n{count} rounds of 3 arms, {loops} runs a sample: {np.median(shares):.2%} of the phase outside"
        " timed code"
    )


def test_the_wall_clock_alone(benchmark):
    """One sample of nothing, as a reading: what is counted to every sample's own time."""
    kept = []
    benchmark(Wall().time, [(nothing, nothing, kept.append)])
    benchmark.extra_info["reads_s"] = float(np.median(kept))
    print(f"\nan empty sample reads {np.median(kept) * 1e9:.0f} ns")
