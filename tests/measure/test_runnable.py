"""Threads that want a core: those of some processes and of all below them."""

import os
import subprocess
import sys
import time

import pytest

from cellbench.harness.measure.runnable import PROC, wanting


@pytest.fixture
def proc(tmp_path):
    """A /proc of processes {number: (parent, states of its threads)}."""

    def made(processes):
        for number, (parent, states) in processes.items():
            folder = tmp_path / str(number)
            for k, state in enumerate(states):
                task = folder / "task" / str(number + k)
                task.mkdir(parents=True)
                (task / "stat").write_text(f"{number + k} (a) R 1 (b) {state} {parent} 0 0\n")
            (folder / "stat").write_text(f"{number} (a) R 1 (b) {states[0]} {parent} 0 0\n")
        (tmp_path / "uptime").touch()
        (tmp_path / "95").mkdir()
        (tmp_path / "95" / "stat").touch()  # of a process that ends while it is looked at
        return tmp_path

    return made


@pytest.mark.quick
def test_runnable_threads_of_processes_and_of_all_below_them_are_counted(proc):
    there = proc(
        {
            1: (0, "R"),
            20: (1, "SR"),  # one of two threads
            40: (20, "RRD"),
            60: (40, "R"),
            80: (1, "RRRR"),  # somebody else's
            90: (77, "R"),  # whose parent has ended
        }
    )
    assert wanting([20], there) == 4 and wanting([40], there) == 3 and wanting([20, 40], there) == 4
    assert wanting([80], there) == 4 and wanting([99], there) == 0 and wanting([1], there) == 9
    assert wanting([], there) == 0 and wanting([20], there / "absent") == 0


@pytest.mark.skipif(not PROC.exists(), reason="this system has no /proc")
def test_a_child_that_computes_is_counted_and_one_that_sleeps_is_not():
    until = time.monotonic() + 60
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        try:
            while not wanting([busy.pid]):
                assert time.monotonic() < until
            assert wanting([os.getpid()]) >= 1
        finally:
            busy.kill()
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as asleep:
        try:
            while wanting([asleep.pid]):
                assert time.monotonic() < until
        finally:
            asleep.kill()
