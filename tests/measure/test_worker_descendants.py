"""What a worker started ends with it, whichever way it ends; and a pipe that stays open holds nobody up."""

import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from support import hanging_up

from cellbench.harness.measure import worker

SLEEP = ["sleep", "7431"]  # a number that no other process has


def sleeping():
    """Processes of these tests that are still there."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cmdline() == SLEEP and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def gone(within_s=10.0):
    until = time.monotonic() + within_s
    while (left := sleeping()) and time.monotonic() < until:
        time.sleep(0.05)
    for process in left:
        process.kill()
    return not left


def start_some(emit):
    """A child, a child of a session of its own without a name in its environment, and an orphan of one."""
    subprocess.Popen(SLEEP)
    subprocess.Popen(SLEEP, start_new_session=True, env={})
    code = f"import subprocess; subprocess.Popen({SLEEP}, start_new_session=True, env={{}})"
    subprocess.run([sys.executable, "-c", code], check=True, start_new_session=True)
    emit(len(sleeping()))


def start_and_raise(emit):
    start_some(emit)
    raise KeyError("on purpose")


def start_and_crash(emit):
    start_some(emit)
    os.kill(os.getpid(), signal.SIGSEGV)


def start_and_hang(emit):
    start_some(emit)
    time.sleep(600)


WAYS = {
    "return": (start_some, "ok"),
    "raise": (start_and_raise, "failed"),
    "crash": (start_and_crash, "crashed"),
    "hang": (start_and_hang, "timed_out"),
}


STARTS = {"spawned": (), "forked": ("json",)}


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("way", WAYS)
def test_all_that_a_worker_started_ends_with_it(way, start):
    counted, timeout_s = [], 8 if way == "hang" else 60
    result = worker.call(WAYS[way][0], on_message=counted.append, timeout_s=timeout_s, imported=STARTS[start])
    assert result.status == WAYS[way][1] and counted == [3]
    assert gone(1.0)


SCRIPT = """
import tests.measure.test_worker_descendants as here
from cellbench.harness.measure import worker
if __name__ == "__main__":
    worker.call(here.start_and_hang, on_message=lambda n: print(n, flush=True), imported=IMPORTED)
"""


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_all_that_a_worker_started_ends_with_its_parent(number, start, tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT.replace("IMPORTED", repr(STARTS[start])))
    variables = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path.cwd()), *sys.path])}
    script = [sys.executable, tmp_path / "script.py"]
    parent = subprocess.Popen(script, stdout=subprocess.PIPE, env=variables, preexec_fn=hanging_up.heard)
    assert parent.stdout.readline() == b"3\n"
    parent.send_signal(number)
    parent.wait()
    assert gone()


def fork_and_end(emit):
    emit("here")
    if os.fork() == 0:
        time.sleep(600)  # with the pipe in hand
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_forked_child_that_holds_the_pipe_hides_no_crash():
    start = time.monotonic()
    result = worker.call(fork_and_end, timeout_s=300)
    assert result.status == "crashed" and time.monotonic() - start < 60


def send_half(emit):
    emit("whole")
    sending = emit.__closure__[0].cell_contents
    os.write(sending.fileno(), struct.pack("!i", 1000) + b"x" * 10)
    time.sleep(600)


def send_half_and_end(emit):
    sending = emit.__closure__[0].cell_contents
    os.write(sending.fileno(), struct.pack("!i", 1000) + b"x" * 10)
    os._exit(0)


def test_half_a_message_and_silence_is_a_timeout():
    messages = []
    result = worker.call(send_half, on_message=messages.append, timeout_s=4)
    assert result.status == "timed_out" and messages == ["whole"]


def test_half_a_message_and_an_end_is_a_crash():
    assert worker.call(send_half_and_end, timeout_s=60).status == "crashed"


def share_of_work(emit):
    import numpy as np

    return float((np.ones((300, 300)) @ np.ones((300, 300))).sum())


def test_a_worker_of_several_threads_computes():
    assert worker.call(share_of_work, threads=2, timeout_s=60).value == 300.0**3


def test_a_program_is_run_with_its_input_and_variables_and_a_late_one_keeps_what_it_wrote():
    command = [sys.executable, "-c", "import os; print(input(), os.environ['A']); raise SystemExit(3)"]
    done = worker.run(command, b"given\n", {"A": "b"}, timeout_s=60)
    assert (done.stdout, done.stderr, done.returncode) == (b"given b\n", b"", 3)
    late = worker.run(["bash", "-c", "echo early; sleep 60"], timeout_s=2)
    assert late.stdout == b"early\n" and late.returncode is None
    with pytest.raises(FileNotFoundError):
        worker.run(["no-such-program-7431"])
