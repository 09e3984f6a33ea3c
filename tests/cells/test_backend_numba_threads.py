"""Numba's threads: over sequences, or over blocks of units that meet at a barrier at every step."""

import os
import signal
import threading
from concurrent.futures import Future
from functools import partial
from itertools import pairwise, product

import numpy as np
import pytest
from support.comparison import (
    DTYPES,
    ODD,
    PLAIN,
    WHOLE,
    bitwise,
    compare,
    computed,
    label,
    prepare,
    problem,
    tolerance,
)
from support.stacks import LENGTHS

from cellbench import cells
from cellbench.cells.backends import _numba_phases
from cellbench.cells.backends import numba as numba_backend
from cellbench.cells.kernels import division, fused, gang
from cellbench.cells.kernels.chunks import has_a_core_each
from cellbench.cells.kernels.gang import at_once

# kernels compile for seconds; `nox -s laws` takes three cells in both formats, and more of the others
SHARED = [*product(["elman", *["gru", "lstm"] * WHOLE], DTYPES)]
FURTHER = [f"{ODD}:Pair", *["minimalrnn", "peephole_lstm", "antisymmetric", "slstm", "fastgrnn"] * WHOLE]


@pytest.fixture
def threads(monkeypatch):
    """Sets how many threads there are; any work is enough for all of them."""
    monkeypatch.setattr(division, "OF_A_THREAD", 1)

    def set_to(count, over_units=True):
        monkeypatch.setattr(division, "OF_A_STEP", 1 if over_units else 1 << 60)
        monkeypatch.setattr(division, "GAIN", 100 if over_units else 0)
        monkeypatch.setattr(numba_backend, "has_a_core_each", lambda: over_units)
        for module in (numba_backend, _numba_phases):
            monkeypatch.setattr(module, "most_threads", lambda: count)

    return set_to


@pytest.mark.parametrize("spec", ["lstm", "gru", "peephole_lstm", "slstm", "lru"])
@pytest.mark.parametrize("batch", [2, 5])
def test_several_threads_over_sequences_equal_one(spec, batch, threads):
    """Of vectors of units, a projection of the cell's own; in shares of unequal size."""
    case = problem(cells.get(spec), batch=batch)
    want = computed(prepare("numba", case), case, trace=True)
    threads(3, over_units=False)
    program = prepare("numba", case)
    assert program.shares == {2: [(0, 1), (1, 2)], 5: [(0, 1), (1, 3), (3, 5)]}[batch]
    assert program.implementation.endswith(f"{min(3, batch)} threads")
    program.segment = 4
    program.assign(case.params)
    compare(computed(program, case, trace=True), want, tolerance("float64", case.steps))


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("steps", [1, 40])
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize(("spec", "dtype"), SHARED)
def test_several_threads_over_units_equal_one(spec, batch, steps, count, dtype, threads):
    case = problem(cells.get(spec), steps, batch, hidden=33)
    want = computed(prepare("numba", case, dtype), case, trace=True)
    threads(count)
    program = prepare("numba", case, dtype)
    assert program.implementation.endswith(f"{count} threads over units")
    assert program.division.blocks == {2: [(0, 16), (16, 33)], 3: [(0, 8), (8, 24), (24, 33)]}[count]
    compare(computed(program, case, trace=True), want, tolerance(dtype, steps))


def test_a_forward_that_keeps_nothing_is_shared_out_by_units_too(threads):
    case = problem(cells.get(PLAIN), batch=1, hidden=33)
    want = computed(prepare("numba", case), case)
    threads(2)
    forward = prepare("numba", case, direction="forward").forward(case.x, case.state)
    compare({"output": forward.output}, {"output": want["output"]}, tolerance("float64", case.steps))


@pytest.mark.parametrize("spec", FURTHER, ids=label)
@pytest.mark.parametrize("segment", [1, 4, 17])
def test_vectors_projections_and_several_states_are_shared_out_by_units_too(spec, segment, threads):
    """In segments of the steps, whose last is shorter."""
    case = problem(cells.get(spec), batch=1, hidden=33)
    want = computed(prepare("numba", case), case, trace=True)
    threads(3)
    program = prepare("numba", case)
    assert program.division.of_units
    program.segment = segment
    program.assign(case.params)
    compare(computed(program, case, trace=True), want, tolerance("float64", case.steps))


@pytest.mark.parametrize("options", ["", ":layers=2:bidirectional=true"])
def test_ragged_sequences_and_stacks_are_shared_out_by_units_too(options, threads):
    case = problem(cells.get(f"elman{options}"), 7, len(LENGTHS), hidden=17)
    want = computed(prepare("numba", case, lengths=LENGTHS), case)
    threads(2)
    program = prepare("numba", case, lengths=LENGTHS)
    assert all(each.division.of_units for each in program.programs)
    compare(computed(program, case), want, tolerance("float64", 7))


def test_units_are_shared_out_only_where_somebody_says_how_many_threads_there_are(threads, monkeypatch):
    case = problem(cells.get(PLAIN), batch=1, hidden=33)
    threads(2)
    monkeypatch.setattr(numba_backend, "has_a_core_each", has_a_core_each)
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    assert prepare("numba", case).threads == 1
    monkeypatch.setenv("NUMBA_NUM_THREADS", "2")
    assert prepare("numba", case).division.of_units


def test_new_parameters_reach_every_block(threads):
    case, other = (problem(cells.get(PLAIN), batch=1, hidden=33, seed=seed) for seed in (0, 1))
    want = computed(prepare("numba", other), other)
    threads(2)
    program = prepare("numba", case)
    computed(program, case)
    program.assign(other.params)
    compare(computed(program, other), want, tolerance("float64", other.steps))


def test_few_sequences_are_shared_out_by_units_and_many_by_sequence(threads):
    """As they are where nothing is patched: lstm with 256 units, 128 steps, 4 threads."""

    def divided(batch, most=4, units=256, steps=128):
        of_step = batch * 4 * units**2
        return division.division(most, batch, units, 2 * steps * of_step, of_step)

    assert [str(divided(batch)) for batch in (1, 2, 4, 8)] == [
        *[", 4 threads over units"] * 2,
        *[", 4 threads"] * 2,
    ]
    assert str(divided(5)) == ", 4 threads over units"  # 2 of 5 would be the longest share
    assert str(divided(1, units=64)) == str(divided(1, most=1)) == ""
    assert str(division.division(4, 1, 256, 1 << 30, 0)).startswith(", 1 thread: one sequence")


@pytest.mark.parametrize("units", [9, 33, 64, 1000])
@pytest.mark.parametrize("most", [2, 3, 7, 64])
def test_blocks_are_all_units_in_order_and_none_is_empty(units, most):
    blocks = division.division(most, 1, units, 1 << 60, 1 << 60).blocks
    assert 1 < len(blocks) <= most and (blocks[0][0], blocks[-1][1]) == (0, units)
    assert all(a[1] == b[0] for a, b in pairwise(blocks))
    assert all(low < high and not low % division.TOGETHER for low, high in blocks)


def test_steps_that_join_their_units_run_on_one_thread_and_say_so(threads):
    threads(3)
    case = problem(cells.get("mgu"), batch=1, hidden=33)
    assert prepare("numba", case).implementation.endswith("1 thread: a step joins its units")
    heads = problem(cells.get(f"{ODD}:Heads"), batch=1)
    assert prepare("numba", heads).implementation.endswith(
        "1 thread: one sequence, whose units are not shared out"
    )


def test_a_small_case_has_one_thread(monkeypatch):
    monkeypatch.setattr(numba_backend, "most_threads", lambda: 3)
    assert prepare("numba", problem(cells.get(PLAIN))).division == division.Division([(0, 3)], [(0, 7)])


def test_blocks_leave_the_kernels_of_one_thread_as_they_are():
    plain, blocks = (fused.text(cells.get("gru"), "float32", each) for each in (False, True))
    assert "barrier" not in plain and "range(low, high)" not in plain
    assert "meet(barrier, t * threads)" in blocks


def test_more_threads_than_processors_meet_at_every_turn():
    """Each finds what the others wrote before they met."""
    from cellbench.cells.kernels.barrier import meet

    count, turns = 2 * (os.cpu_count() or 1) + 1, 50
    written, wrong = np.zeros(count, np.int64), []

    def task(k, barrier):
        for turn in range(1, turns):
            written[k] = turn
            if not meet(barrier, (2 * turn - 1) * count) or (written != turn).any():
                wrong.append((k, turn))
            meet(barrier, 2 * turn * count)

    at_once([partial(task, k) for k in range(count)])
    assert not wrong


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_nobody_waits_for_a_thread_that_fails(failing):
    from cellbench.cells.kernels.barrier import meet

    went_on = []

    def task(k, barrier):
        if k == failing:
            raise ZeroDivisionError(f"thread {k}")
        went_on.append(meet(barrier, 3))

    with pytest.raises(ZeroDivisionError, match=f"thread {failing}"):
        at_once([partial(task, k) for k in range(3)])
    assert not any(went_on)


def test_nobody_waits_for_a_thread_that_cannot_be_started(monkeypatch):
    started = []

    class Full:
        def submit(self, task, *arguments):
            if started:
                raise RuntimeError("can't start new thread")
            started.append(threading.Thread(target=task, args=arguments))
            started[0].start()
            return Future()

    monkeypatch.setattr(gang, "pool", lambda count: Full())
    monkeypatch.setattr(gang, "wait", lambda futures: [thread.join() for thread in started])
    from cellbench.cells.kernels.barrier import meet

    with pytest.raises(RuntimeError, match="can't start new thread"):
        at_once([lambda barrier: meet(barrier, 3)] * 3)
    assert not started[0].is_alive()


def test_programs_on_several_threads_of_the_caller_s_do_not_wait_for_ever(threads):
    """Each needs two threads of a pool that has two."""
    threads(3)
    case = problem(cells.get(PLAIN), batch=1, hidden=33)
    programs = [prepare("numba", case) for _ in range(4)]
    want, have = computed(programs[0], case), []

    def work(program):
        for _ in range(5):
            have.append(computed(program, case))

    callers = [threading.Thread(target=work, args=(program,)) for program in programs]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(60)
        assert not caller.is_alive()
    for each in have:
        bitwise(each, want)
    assert len(have) == 20


def test_a_forked_child_has_threads_of_its_own(threads):
    threads(2)
    case = problem(cells.get(PLAIN), batch=1, hidden=33)
    program = prepare("numba", case)
    want = computed(program, case)
    child = os.fork()
    if not child:
        ok = False
        try:
            signal.alarm(30)
            bitwise(computed(program, case), want)
            ok = True
        finally:
            os._exit(0 if ok else 1)
    assert os.waitpid(child, 0)[1] == 0
