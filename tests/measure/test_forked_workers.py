"""A forked worker is as a spawned one would be, or a spawned one takes its place."""

import os
import resource
import signal
import sys
import time
from contextlib import suppress
from multiprocessing import forkserver
from pathlib import Path

import psutil
import pytest

from cellbench.harness.measure import worker

IMPORTED = ("json", "http.client")  # the second is a module that nothing else here imports


def what_it_sees(emit):
    variables = {k: v for k, v in os.environ.items() if k not in ("PYTEST_CURRENT_TEST", "COLUMNS", "LINES")}
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, set())
    limits = [resource.getrlimit(r)[0] for r in (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE)]
    return variables, Path.cwd(), sys.path, sys.argv, blocked, limits, psutil.Process().num_threads()


def has_the_module(emit):
    return "http.client" in sys.modules


def how_it_came(emit):
    return psutil.Process(os.getppid()).ppid(), os.environ.get("CELLBENCH_TRIED"), has_the_module(emit)


@pytest.fixture(scope="module", autouse=True)
def a_server_of_these_tests():
    """One that has the modules: another may have been started by a test before."""
    stop_server()
    yield
    stop_server()


def stop_server():
    for child in psutil.Process().children():
        with suppress(psutil.ZombieProcess):  # it was killed before
            if "multiprocessing.forkserver" in " ".join(child.cmdline()):
                child.kill()
                while child.status() != psutil.STATUS_ZOMBIE:  # multiprocessing waits for it itself
                    time.sleep(0.01)


def test_a_forked_worker_sees_what_a_spawned_one_sees():
    forked, spawned = worker.call(what_it_sees, imported=IMPORTED), worker.call(what_it_sees)
    assert forked.status == spawned.status == "ok"
    assert forked.value == spawned.value


def test_the_modules_are_there_already():
    assert worker.call(has_the_module, imported=IMPORTED).value
    assert not worker.call(has_the_module).value


def test_a_variable_that_changed_after_the_server_started_reaches_the_work(monkeypatch):
    assert worker.call(how_it_came, imported=IMPORTED).value[0] != os.getpid()
    monkeypatch.setenv("CELLBENCH_TRIED", "later")
    parent, variable, imported = worker.call(how_it_came, imported=IMPORTED).value
    assert (parent, variable, imported) == (os.getpid(), "later", False)


def test_several_threads_are_given_by_a_spawned_process():
    assert worker.call(how_it_came, threads=2, imported=IMPORTED).value[0] == os.getpid()


def test_a_server_that_was_killed_is_started_again():
    assert worker.call(has_the_module, imported=IMPORTED).value
    stop_server()
    assert worker.call(has_the_module, imported=IMPORTED).value


def test_a_server_that_somebody_else_waited_for_is_done_without():
    worker.call(has_the_module, imported=IMPORTED)
    stop_server()
    os.wait()
    assert worker.call(has_the_module, imported=IMPORTED).status == "ok"
    forkserver._forkserver._forkserver_pid = None  # the next test has one again


def sleep_a_minute(emit):
    emit(psutil.Process(os.getppid()).ppid())
    time.sleep(60)


def test_a_server_killed_while_it_works_is_a_crash_at_once():
    start = time.monotonic()
    kill = lambda server: os.kill(server, signal.SIGKILL)  # noqa: E731
    result = worker.call(sleep_a_minute, on_message=kill, imported=IMPORTED)
    assert result.status == "crashed" and time.monotonic() - start < 30
