"""Several workers at once: each ends in its own way, and those that wait for their turn are as new ones."""

import os
import signal
import sys
import time
from functools import partial

import psutil
import pytest

from cellbench.harness.measure import worker
from cellbench.harness.measure.ahead import Ahead
from cellbench.harness.measure.side_by_side import Attempt, side_by_side
from cellbench.harness.measure.started import Result

FORKED = ("json",)  # a spawned process takes half a second


def pass_over(message):
    pass


def meet(emit, mine, others):
    """Ends once it sees the others, which are under way at the same time."""
    mine.touch()
    while not all(other.exists() for other in others):
        emit(None)
        time.sleep(0.01)
    return os.getpid()


def end_by(emit, way):
    emit("begun")
    if way == "crashed":
        os.kill(os.getpid(), signal.SIGKILL)
    if way == "silent":
        time.sleep(60)
    if way == "failed":
        raise ZeroDivisionError("on purpose")
    return way


def work(kept, *attempts):
    for attempt in attempts:
        kept.append((yield attempt))


def test_as_many_run_at_once_as_are_allowed(tmp_path):
    files = [tmp_path / "a", tmp_path / "b"]
    ended = []
    side_by_side(
        (work(ended, Attempt(meet, (one, files), pass_over, imported=FORKED)) for one in files),
        2,
        timeout_s=60,
    )
    assert len({result.value for result in ended}) == 2 and {r.status for r in ended} == {"ok"}


def test_each_ends_in_its_own_way_and_what_follows_it_runs():
    ended, said, ways = {}, [], ("crashed", "failed", "ok")

    def one(way):
        ended[way] = yield Attempt(end_by, (way,), said.append, imported=FORKED)
        ended[way, "next"] = yield Attempt(end_by, ("ok",), said.append, imported=FORKED)

    side_by_side(map(one, ways), 2, timeout_s=120)
    assert [ended[way].status for way in ways] == list(ways)
    assert all(ended[way, "next"].value == "ok" for way in ways)
    assert said == ["begun"] * 6


def talk_until_gone(emit, file):
    while not file.exists() or psutil.pid_exists(int(file.read_text() or os.getpid())):
        emit(None)
        time.sleep(0.05)


def be_silent(emit, file):
    file.write_text(str(os.getpid()))
    time.sleep(60)


def test_one_that_is_silent_is_ended_though_another_talks(tmp_path):
    ended, given = [], (tmp_path / "pid",)
    worker.call(end_by, "ok", imported=FORKED)  # the server is there, so that a start is no silence
    attempts = [Attempt(one, given, pass_over, imported=FORKED) for one in (talk_until_gone, be_silent)]
    side_by_side((work(ended, attempt) for attempt in attempts), 2, timeout_s=10)
    assert [result.status for result in ended] == ["timed_out", "ok"]


def test_a_process_whose_message_is_refused_is_ended():
    ended = []
    refuse = lambda message: Result("failed", f"{message} cannot be kept")  # noqa: E731
    side_by_side([work(ended, Attempt(end_by, ("silent",), refuse))], 1, timeout_s=60)
    assert ended == [Result("failed", "begun cannot be kept")]


def prepare(module, broken):
    if broken:
        os._exit(3)
    __import__(module)


def what_it_is(emit):
    return os.getpid(), "http.client" in sys.modules


@pytest.mark.parametrize("broken", [False, True])
def test_processes_that_wait_have_imported_and_one_that_broke_is_replaced(broken):
    ended = []
    with Ahead(2, prepare, ("http.client", broken)) as ahead:
        attempt = partial(Attempt, what_it_is, (), pass_over)
        side_by_side([work(ended, attempt(ahead=ahead), attempt(ahead=ahead), attempt(ahead=ahead))], 1)
    assert {result.status for result in ended} == {"ok"}
    assert len({result.value[0] for result in ended}) == 3  # a fresh one for each
    assert [result.value[1] for result in ended] == [not broken, not broken, False]
