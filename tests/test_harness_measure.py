"""Clocks, interleaving, memory and worker processes."""

import os
import signal
import time

import numpy as np

from harness.measure import worker
from harness.measure.memory import peak_bytes
from harness.measure.timing import Timed, interleave, loops_for, warm_up


class FakeClock:
    """Time that passes only when a fake run says so."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def run_of(self, seconds):
        def run():
            self.now += seconds

        return Timed(run, lambda: None)


def test_a_run_is_timed_as_the_mean_of_its_loops():
    clock = FakeClock()
    assert np.isclose(clock.run_of(0.25).seconds(8, clock), 0.25)


def test_warm_up_goes_on_until_both_bounds_are_passed():
    clock = FakeClock()
    assert warm_up(clock.run_of(1.0), clock, at_least_s=0.05, at_least_runs=3) == 1.0
    assert clock.now == 3.0
    warm_up(clock.run_of(0.01), clock, at_least_s=0.5, at_least_runs=3)
    assert clock.now >= 3.5


def test_short_runs_are_looped_and_long_ones_are_not():
    assert loops_for(1e-5, 0.005) == 500
    assert loops_for(1.0, 0.005) == 1


def test_interleaving_times_every_item_once_a_round_in_changing_order():
    clock, order = FakeClock(), []

    def item(name, seconds):
        def run():
            order.append(name)
            clock.now += seconds

        return Timed(run, lambda: None)

    found = interleave({"a": item("a", 1.0), "b": item("b", 2.0)}, 20, np.random.default_rng(0), clock)
    assert found == {"a": [1.0] * 20, "b": [2.0] * 20}
    rounds = [tuple(order[k : k + 2]) for k in range(len(order) - 40, len(order), 2)]
    assert all(set(r) == {"a", "b"} for r in rounds) and len(set(rounds)) == 2


def test_interleaving_leaves_the_collector_as_it_was():
    import gc

    clock = FakeClock()
    seen = []
    timed = Timed(lambda: (seen.append(gc.isenabled()), setattr(clock, "now", clock.now + 1))[0], lambda: None)
    interleave({"a": timed}, 3, np.random.default_rng(0), clock)
    assert not any(seen[-3:]) and gc.isenabled()


def test_peak_memory_counts_what_the_work_holds_at_once():
    size = 40 << 20
    peak = peak_bytes(lambda: np.ones(size, np.uint8))
    assert 0.99 * size <= peak < 1.2 * size  # the kernel counts resident pages in small lots


def test_peak_memory_counts_what_is_freed_before_the_end():
    def work():
        np.ones(30 << 20, np.uint8).sum()

    assert peak_bytes(work) >= 0.99 * (30 << 20)


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
    assert "nothing works" in worker.call(fail).reason and "test_harness_measure.py" in worker.call(fail).reason


def test_a_hanging_worker_ends_at_its_timeout_with_the_flag_that_allows_more():
    outcome = worker.call(hang, timeout_s=0.5)
    assert outcome.status == "timed_out" and "case_timeout_s" in outcome.reason


def test_a_worker_gets_its_threads_and_the_parent_keeps_its_own():
    before = dict(os.environ)
    assert worker.call(report_threads, threads=3).value == ("3", "3")
    assert dict(os.environ) == before
