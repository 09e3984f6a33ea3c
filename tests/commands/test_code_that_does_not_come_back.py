"""A person's file that never returns, or goes on after the end, holds up no command and changes no answer."""

import json
import os
import subprocess
import sys

import pytest

from cellbench.harness.cli import main
from cellbench.harness.measure.watchdog import GRACE_S, NOTE_S, Patience

GRU = "\nfrom cellbench.cells.zoo.gru import GRU\nclass A(GRU):\n    pass\n"
EQUATIONS = """
import time
from cellbench.cells import GatedCell
class A(GatedCell):
    gates, states = ("n",), ("h",)
    def equations(self, wx, wh, prev):
        while True: time.sleep(0.1)
"""
STEP = (
    "def A(x, h, weight_ih, weight_hh, bias_ih, bias_hh): supervised()\n"
    "def supervised(): __import__('time').sleep(1e6)\n"
)
DEAF = "import time\nwhile True:\n    try:\n        time.sleep(1)\n    except BaseException:\n        pass\n"
STOPPED = "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)\n"
SHOW, CHECK = ["show", "FILE:A"], ["check", "FILE:A", "--against", "elman"]
PLAN = ["run", "--plan", "cells=[FILE:A]", "backends=[numpy]", "probes=[parameters]", "results=runs"]
CLAIM, TASK = ["claims", "FILE:A", "--output", "claims"], ["run", "--plan", "cells=[gru]", "tasks=[FILE:A]"]
ENDED = "did not come back within 3 s, and was ended; CELLBENCH_PATIENCE_S=SECONDS allows more"
# name: (the file, the command, what is said on standard error, the exit code)
CASES = {
    "loops": (
        "import time\nwhile True: time.sleep(0.1)\n",
        SHOW,
        f"the import of loops.py (loops.py:2) {ENDED}",
        1,
    ),
    "sleeps": ("import time\ntime.sleep(1e6)\n", PLAN, f"the import of sleeps.py (sleeps.py:2) {ENDED}", 1),
    "claims": ("import time\ntime.sleep(1e6)\n", CLAIM, f"the import of claims.py (claims.py:2) {ENDED}", 1),
    "tasks": ("import time\ntime.sleep(1e6)\n", TASK, f"the import of tasks.py (tasks.py:2) {ENDED}", 1),
    "deaf": (DEAF, SHOW, ENDED, 1),
    "locked": ("import ctypes\nctypes.PyDLL(None).sleep(9999)\n", SHOW, f"locked.py {ENDED}", 1),
    "stopped": (STOPPED, SHOW, f"stopped.py {ENDED}", 1),
    "equations": (EQUATIONS, SHOW, f"equations.py:7 {ENDED}", 1),
    "called": (STEP, CHECK, f"called.py:2 {ENDED}", 1),
    "thread": (
        f"import threading\nthreading.Thread(target=lambda: {{}}['k']).start(){GRU}",
        SHOW,
        "a thread raises KeyError: 'k' (thread.py:2)",
        0,
    ),
    "exit": (
        f"import atexit, os\natexit.register(lambda: os._exit(3))\natexit.register(lambda: 1 / 0){GRU}",
        SHOW,
        "called at the exit raises ZeroDivisionError: division by zero (exit.py:3)",
        0,
    ),
    "late": (
        f"import atexit, time\natexit.register(time.sleep, 1e6){GRU}",
        SHOW,
        "what it ran did not end after its work; it is ended",
        0,
    ),
}
# each command as a program of its own, but for what all of them import, which takes most of the time
TOGETHER = """
import json, os, sys
import cellbench.cells.checking, cellbench.cells.kernels.printed, cellbench.harness.commands.show
import cellbench.cells.zoo.gru
from cellbench.harness import cli

children = {}
for name, command in json.loads(sys.argv[1]).items():
    if not (child := os.fork()):
        os.dup2(os.open(f"{name}.out", os.O_CREAT | os.O_WRONLY), 1)
        os.dup2(os.open(f"{name}.err", os.O_CREAT | os.O_WRONLY), 2)
        sys.argv = ["cellbench", *command]
        sys.exit(cli.main())
    children[child] = name
ended = [os.wait() for _ in children]
print(json.dumps({children[child]: os.waitstatus_to_exitcode(status) for child, status in ended}))
"""


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """(exit code, standard output, standard error) of each case; all are run at once."""
    here = tmp_path_factory.mktemp("here")
    for name, (text, *_) in CASES.items():
        (here / f"{name}.py").write_text(text)
    commands = {n: [w.replace("FILE", f"{n}.py") for w in case[1]] for n, case in CASES.items()}
    ran = subprocess.run(
        [sys.executable, "-c", TOGETHER, json.dumps(commands)],
        cwd=here,
        env=os.environ | {"CELLBENCH_PATIENCE_S": "3"},
        stdout=subprocess.PIPE,
        check=True,
    )
    codes = json.loads(ran.stdout)
    return {n: (codes[n], *((here / f"{n}.{s}").read_text() for s in ("out", "err"))) for n in CASES}


@pytest.mark.parametrize("name", CASES)
def test_code_that_does_not_come_back_or_goes_on_is_one_line(done, name):
    _, _, line, expected = CASES[name]
    code, out, err = done[name]
    assert code == expected and line in err and "Traceback" not in err
    assert out.count("W_hh full") == (expected == 0)  # the whole answer, or none


def test_a_person_is_told_before_code_is_ended_and_asked_before_it_is_killed():
    told, ended = [], []
    patience = Patience(ended.append, told.append)
    for second in range(60):
        patience.tick(second, second, "mine.py:3", "mine.py")
    assert told == [f"mine.py:3 takes longer than {NOTE_S} s; it is ended after 60 s"] and not ended
    for second in range(60, 60 + GRACE_S + 1):
        patience.tick(second, second, "mine.py:3", "mine.py")
    assert len(told) == 2 and "mine.py:3 did not come back within 60 s" in told[1]
    assert ended == [15, 9]


def test_calls_that_come_back_add_up_to_nothing():
    told, ended = [], []
    patience = Patience(ended.append, told.append)
    for second in range(600):
        patience.tick(second, second % 9, "mine.py:3", "mine.py")
        patience.tick(second, 0, "", "")  # silent, but no code of a person's is in hand
    assert not told and not ended


@pytest.mark.parametrize("value", ["", "0", "-1", "nan", "inf", "long"])
def test_a_patience_that_is_no_time_is_bad_input(capfd, monkeypatch, value):
    monkeypatch.setenv("CELLBENCH_PATIENCE_S", value)
    assert main(["list"]) == 2
    assert f"CELLBENCH_PATIENCE_S is {value!r}; it must be a positive number" in capfd.readouterr().err
