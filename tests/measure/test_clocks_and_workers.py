"""Clocks, interleaving, memory and worker processes."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from cellbench.harness.measure import clocks, worker
from cellbench.harness.measure.clocks import CudaEvents, Fake, OnCore, Wall, stopwatch
from cellbench.harness.measure.memory import peak_bytes
from cellbench.harness.measure.timing import (
    MOST_ORDERS,
    Timed,
    collector_off,
    interleave,
    loops_for,
    rounds,
    warm_up,
)


def nothing():
    pass


def taking(clock, seconds):
    return Timed(clock.run_of(seconds), nothing)


def test_a_run_is_timed_as_the_mean_of_its_loops():
    clock = Fake()
    assert np.isclose(taking(clock, 0.25).seconds(8, clock), 0.25) and clock.passed == 2.0


def test_waiting_for_the_end_is_timed_once_a_sample():
    clock = Fake()
    assert np.isclose(Timed(nothing, clock.run_of(1.0)).seconds(8, clock), 1 / 8)


def test_the_wall_clock_reads_before_the_run_and_after_the_wait():
    events = []
    readings = iter((5.0, 7.5))
    clock = Wall(lambda: (events.append("read"), next(readings))[1])
    clock.time([(lambda: events.append("run"), lambda: events.append("sync"), events.append)])
    assert events == ["read", "run", "sync", "read", 2.5]


@pytest.mark.parametrize(("lost", "counted"), [(0.0, 1.0), (0.25, 0.75), (3.0, 1.0)])
def test_time_spent_waiting_for_a_core_is_taken_off_unless_it_is_more_than_all(lost, counted):
    clock, waits, kept = Fake(), iter([5.0, 5.0 + lost]), []
    OnCore(lambda: next(waits), clock.now).time([(clock.run_of(1.0), nothing, kept.append)])
    assert kept == [counted]


@pytest.fixture
def a_wait(monkeypatch):
    """Stands for torch.cuda: events that read a device's clock, and a note of the order of things."""
    wall, waits = iter((5.0, 10.0)), iter((2.0, 3.0))
    monkeypatch.setattr(clocks, "perf_counter", lambda: next(wall))
    monkeypatch.setattr(clocks, "waiting", lambda: lambda: next(waits))
    monkeypatch.setattr(clocks, "_HERE", threading.local())


@pytest.mark.parametrize(
    ("device", "threads", "passed"), [("cpu", 1, 4.0), ("cpu", 2, 5.0), ("cuda", 1, 5.0)]
)
def test_a_stopwatch_leaves_out_waiting_where_one_thread_does_all_the_work(a_wait, device, threads, passed):
    now = stopwatch(device, threads)
    assert -now() + now() == passed


def test_a_stopwatch_is_the_wall_clock_where_waiting_is_not_told(a_wait, monkeypatch):
    monkeypatch.setattr(clocks, "waiting", lambda: None)
    now = stopwatch("cpu", 1)
    assert -now() + now() == 5.0


class Cuda:
    """Stands for torch.cuda: events that read a clock of the device in milliseconds, and a note of the order
    of things.
    """

    def __init__(self):
        self.done, self.clock = [], Fake()

    def Event(self, enable_timing):
        assert enable_timing
        return Event(self)

    def zero_(self):
        self.done.append("flush")
        self.clock.passed += 9.0


class Event:
    def __init__(self, cuda):
        self.cuda = cuda

    def record(self):
        self.cuda.done.append("record")
        self.at = self.cuda.clock.passed

    def synchronize(self):
        self.cuda.done.append("wait")

    def elapsed_time(self, end):
        return 1e3 * (end.at - self.at)


def test_cuda_events_time_the_device_after_the_cache_was_flushed():
    cuda = Cuda()
    run = cuda.clock.run_of(0.5)
    timed = Timed(lambda: (cuda.done.append("run"), run()), lambda: cuda.done.append("sync"))
    assert np.isclose(timed.seconds(2, CudaEvents(cuda, cuda)), 0.5)  # the flush is not counted
    assert cuda.done == ["flush", "record", "run", "run", "record", "sync", "wait"]


def test_warm_up_goes_on_until_both_bounds_are_passed():
    clock = Fake()
    assert warm_up(taking(clock, 1.0), clock, at_least_s=0.05, at_least_runs=3) == 1.0
    assert clock.passed == 3.0
    warm_up(taking(clock, 0.01), clock, at_least_s=0.5, at_least_runs=3)
    assert clock.passed >= 3.5


def test_one_disturbed_run_does_not_set_the_number_of_loops():
    clock, long = Fake(), iter([1.0, 0.25, 8.0])

    def run():
        clock.passed += next(long)

    assert warm_up(Timed(run, nothing), clock) == 0.25


def test_short_runs_are_looped_and_long_ones_are_not():
    assert loops_for(1e-5, 0.005) == 500
    assert loops_for(1.0, 0.005) == 1
    assert loops_for(0.0, 0.005) == 5_000_000


def test_interleaving_times_every_item_once_a_round_in_changing_order():
    clock, order = Fake(), []

    def item(name, seconds):
        def run():
            order.append(name)
            clock.passed += seconds

        return Timed(run, nothing)

    samples = MOST_ORDERS + 20
    found = interleave({"a": item("a", 1.0), "b": item("b", 2.0)}, samples, np.random.default_rng(0), clock)
    assert found == {"a": [1.0] * samples, "b": [2.0] * samples}
    seen = [tuple(order[k : k + 2]) for k in range(len(order) - 2 * samples, len(order), 2)]
    assert all(set(r) == {"a", "b"} for r in seen) and len(set(seen)) == 2


def test_a_sample_of_several_loops_counts_one_run():
    clock = Fake()
    found = rounds({"a": taking(clock, 0.25)}, {"a": 4}, 3, np.random.default_rng(0), clock)
    assert found == {"a": [0.25] * 3} and clock.passed == 3.0


def test_what_is_called_between_rounds_is_not_timed():
    clock = Fake()
    items = {"a": taking(clock, 1.0), "b": taking(clock, 1.0)}
    found = rounds(items, {"a": 1, "b": 1}, 5, np.random.default_rng(0), clock, between=clock.run_of(10.0))
    assert found == {"a": [1.0] * 5, "b": [1.0] * 5} and clock.passed == 60.0


def test_interleaving_leaves_the_collector_as_it_was():
    clock, seen = Fake(), []
    timed = Timed(lambda: (seen.append(gc.isenabled()), clock.run_of(1.0)())[0], nothing)
    interleave({"a": timed}, 3, np.random.default_rng(0), clock)
    assert not any(seen[-3:]) and gc.isenabled()
    with collector_off():
        interleave({"a": timed}, 3, np.random.default_rng(0), clock)
        assert not gc.isenabled()
    assert gc.isenabled() and gc.get_freeze_count() == 0


def test_the_collector_is_on_again_after_an_error():
    with pytest.raises(ZeroDivisionError), collector_off():
        1 / 0  # noqa: B018
    assert gc.isenabled()


def test_inside_another_span_without_collector_cycles_made_there_are_freed():
    class Node:
        freed = 0

        def __init__(self):
            self.own = self

        def __del__(self):
            Node.freed += 1

    with collector_off():
        Node()
        assert Node.freed == 0
        with collector_off():
            assert Node.freed == 1


def test_peak_memory_counts_what_the_work_holds_at_once():
    size = 40 << 20
    peak = peak_bytes(lambda: np.ones(size, np.uint8))
    assert 0.99 * size <= peak < 1.2 * size  # the kernel counts resident pages in small lots


def test_peak_memory_counts_what_is_freed_before_the_end():
    def work():
        np.ones(40 << 20, np.uint8).sum()  # beyond 32 MiB, glibc always takes new pages

    assert peak_bytes(work) >= 0.99 * (40 << 20)


def double(emit, value):
    emit("half way")
    return 2 * value


def fail(emit):
    raise RuntimeError("nothing\nworks")


def exhaust(emit):
    return np.ones(1 << 45, np.uint8)


def die(emit):
    os.kill(os.getpid(), signal.SIGSEGV)


def hang(emit):
    time.sleep(600)


def report_threads(emit):
    return os.environ["OMP_NUM_THREADS"], os.environ["OPENBLAS_NUM_THREADS"]


def test_a_worker_returns_its_value_and_hands_over_messages():
    messages = []
    outcome = worker.call(double, 21, on_message=messages.append)
    assert (outcome.status, outcome.value, messages) == ("ok", 42, ["half way"])


def test_each_end_of_a_worker_has_its_status_and_one_line_of_reason():
    ends = {"failed": fail, "out_of_memory": exhaust, "crashed": die}
    for status, function in ends.items():
        outcome = worker.call(function, timeout_s=60)
        assert outcome.status == status, outcome
        assert outcome.reason and "\n" not in outcome.reason
    assert "SIGSEGV" in worker.call(die).reason
    reason = worker.call(fail).reason
    assert "nothing works" in reason and Path(__file__).name in reason


def test_a_hanging_worker_ends_at_its_timeout_with_the_flag_that_allows_more():
    outcome = worker.call(hang, timeout_s=0.5)
    assert outcome.status == "timed_out" and "case_timeout_s" in outcome.reason


def test_a_worker_gets_its_threads_and_the_parent_keeps_its_own():
    before = dict(os.environ)
    assert worker.call(report_threads, threads=3).value == ("3", "3")
    assert dict(os.environ) == before


def report_held_back(emit):
    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_an_interrupt_is_held_back_in_the_first_child_of_a_process_too():
    first = "from tests.measure.test_clocks_and_workers import *; print(worker.call(report_held_back).value)"
    assert subprocess.run([sys.executable, "-c", first], capture_output=True, text=True).stdout == "True\n"
    assert not report_held_back(None)


def test_workers_started_from_two_threads_leave_the_environment_as_it_was():
    before, (asked, inside, left) = dict(os.environ), (threading.Event() for _ in range(3))

    def second():
        asked.wait()
        with worker.limited(2):
            inside.set()
            left.wait()

    thread = threading.Thread(target=second, daemon=True)
    thread.start()
    with worker.limited(3):
        asked.set()
        assert not inside.wait(0.2)  # or it would take "3" for the environment's own, and put that back last
    assert inside.wait(60) and os.environ["OMP_NUM_THREADS"] == "2"
    left.set()
    thread.join()
    assert dict(os.environ) == before
