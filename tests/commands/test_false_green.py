"""A command ends with code 0 by its own last line alone, whatever the file of a person's does."""

import gc
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from cellbench import cells
from cellbench.cells.programs import tolerance
from cellbench.harness.cli import main

STEP = "def step(x, h, weight_ih, weight_hh, bias_ih, bias_hh):\n    "
ENDINGS = {
    "sys.exit": ("import sys\nsys.exit(0)\n", "mine.py ends the interpreter: sys.exit(0) (mine.py:2)"),
    "exit": ("raise SystemExit\n", "mine.py ends the interpreter: sys.exit() (mine.py:1)"),
    "unittest.main": (
        "import unittest\nunittest.main(argv=['x'], module='os')\n",
        "mine.py ends the interpreter: sys.exit(",
    ),
    "os._exit": ("import os\nos._exit(0)\n", "mine.py ends the interpreter: os._exit(0) (mine.py:2)"),
    "no Exception": (
        "class Own(BaseException): pass\nraise Own('enough')\n",
        "mine.py raises Own: enough (mine.py:2)",
    ),
    "closes the streams": (
        "import os\nos.close(1)\nos.close(2)\n",
        "mine.py closes or replaces standard out",
    ),
    "goes elsewhere": ("import os\nos.chdir('/')\n", "mine.py changes the working directory"),
    "stops the clock": ("import time\ntime.monotonic = float\n", "mine.py replaces time.monotonic"),
}
COMMANDS = {
    "check": ["check", "mine.py:A", "--against", "gru"],
    "run": ["run", "cells=[mine.py:A]", "probes=[parameters]", "results=runs"],
    "task": ["run", "cells=[gru]", "tasks=[mine.py:A]", "probes=[training]", "results=runs"],
    "probe": ["run", "cells=[gru]", "probes=[mine.py:A]", "results=runs"],
    "compare": ["compare", "mine.py:A:gru", "results=runs"],
    "claims": ["claims", "mine.py:A", "--output", "claims"],
    "show": ["show", "mine.py:A"],
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(capfd):
    """The one line on standard error."""
    printed = capfd.readouterr()
    assert printed.out == "" and "Traceback" not in printed.err
    return [line for line in printed.err.splitlines() if line.startswith("cellbench: ")][-1]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("way", ENDINGS)
def test_a_file_that_ends_the_interpreter_or_changes_it_is_one_line_and_never_green(
    here, capfd, way, command
):
    text, line = ENDINGS[way]
    (here / "mine.py").write_text(text)
    clock = time.monotonic
    assert main(COMMANDS[command]) == 2
    assert line in said(capfd)
    assert Path.cwd() == here and time.monotonic is clock  # put back


CALLS = {
    "sys.exit": ("raise SystemExit(0)", "ends the interpreter: sys.exit(0)"),
    "os._exit": ("__import__('os')._exit(0)", "ends the interpreter: os._exit(0)"),
    "elsewhere": ("__import__('os').chdir('/'); return h", "changes the working directory"),
}


@pytest.mark.parametrize("way", CALLS)
def test_a_checked_function_that_ends_the_interpreter_when_it_is_called_is_no_pass(here, capfd, way):
    body, line = CALLS[way]
    (here / "mine.py").write_text(STEP + body)
    assert main(["check", "mine.py:step", "--against", "elman"]) == 2
    assert line in said(capfd)


CHANGES = {
    "print": ("import builtins\nbuiltins.print = lambda *a, **k: None", "replaces builtins.print"),
    "numpy": ("import numpy\nnumpy.abs = numpy.zeros_like", "replaces numpy.abs"),
    "the project": (
        "from cellbench.cells.programs import tolerance as t\nt.relative_error = lambda *a: 0.0",
        "replaces cellbench.cells.programs.tolerance.relative_error",
    ),
    "tracer": ("import sys\nsys.settrace(lambda *a: None)", "traces every line (sys.settrace)"),
    "input": ("import os\nos.close(0)", "closes or replaces standard input"),
}
OWN = "\nfrom cellbench.cells.zoo.gru import GRU\nclass A(GRU):\n    pass\n"


@pytest.mark.parametrize("what", CHANGES)
def test_a_file_that_changes_what_all_code_shares_is_one_line_and_it_is_put_back(here, capfd, what):
    text, line = CHANGES[what]
    (here / "mine.py").write_text(text + OWN)
    before = print, np.abs, tolerance.relative_error, sys.gettrace()
    assert main(["show", "mine.py:A"]) == 2
    assert line in said(capfd)
    assert (print, np.abs, tolerance.relative_error, sys.gettrace()) == before


def test_a_change_that_harms_nobody_once_it_is_put_back_is_no_error(here, capfd):
    text = "import io, signal, sys, warnings, numpy\nsys.stdout = io.StringIO()\nsys.path[:] = ['mine']\n"
    text += "sys.argv = ['x']\nwarnings.simplefilter('error')\nnumpy.seterr(all='raise')\n"
    (here / "mine.py").write_text(text + "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + OWN)
    path, arithmetic, handler = list(sys.path), np.geterr(), signal.getsignal(signal.SIGTERM)
    assert main(["show", "mine.py:A"]) == 0 and "equations" in capfd.readouterr().out
    assert set(path) <= set(sys.path) and np.geterr() == arithmetic
    assert signal.getsignal(signal.SIGTERM) == handler


def umask():
    mask = os.umask(0o22)
    os.umask(mask)
    return mask


SETTINGS = {
    "how deep calls go": ("import sys\nsys.setrecursionlimit(400)", sys.getrecursionlimit),
    "rights of files": ("import os\nos.umask(0o777)", umask),
    "how long a thread goes on": ("import sys\nsys.setswitchinterval(9.0)", sys.getswitchinterval),
    "held back signals": (
        "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])",
        lambda: signal.pthread_sigmask(signal.SIG_BLOCK, ()),
    ),
    "the collector": ("import gc\ngc.disable()", gc.isenabled),
    "threads": (f"import torch\ntorch.set_num_threads({1 + torch.get_num_threads()})", torch.get_num_threads),
    "anomalies": ("import torch\ntorch.autograd.set_detect_anomaly(True)", torch.is_anomaly_enabled),
}


@pytest.mark.parametrize("what", SETTINGS)
def test_a_setting_of_the_process_that_a_file_changes_is_put_back(here, what):
    text, value = SETTINGS[what]
    (here / "mine.py").write_text(text + OWN)
    before = value()
    cells.get("mine.py:A")
    assert value() == before


def test_threads_are_those_asked_for_where_a_file_sets_others_and_imports_torch_first(here):
    (here / "mine.py").write_text("import torch\ntorch.set_num_threads(3)" + OWN)
    script = (
        "from cellbench import cells\ncells.get('mine.py:A')\nimport torch\nprint(torch.get_num_threads())"
    )
    variables = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, env=variables, check=True)
    assert done.stdout == b"1\n"


def test_an_exception_that_cannot_say_its_text_is_one_line(here, capfd):
    (here / "mine.py").write_text(
        "class Own(Exception):\n    def __str__(self):\n        return None\nraise Own\n"
    )
    assert main(["show", "mine.py:A"]) == 2
    assert "mine.py cannot be imported: Own: (its text cannot be told: TypeError)" in said(capfd)


BEYOND = {
    "exit of C": ("import ctypes\nctypes.CDLL(None).exit(0)", "exit code 0 before its work was done", 1),
    "another program": ("import os\nos.execv('/bin/true', ['true'])", "exit code 0 before its work was", 1),
    "a signal": ("import os\nos.kill(os.getpid(), 9)", "was ended by SIGKILL", 1),
    "every descriptor": ("import os\nos.closerange(0, 3000)", "closes or replaces standard output", 2),
    "Ctrl-C": ("raise KeyboardInterrupt", "raised KeyboardInterrupt", 1),
    "a copy": ("import os\nos.fork()", "", 0),
}


@pytest.mark.parametrize("way", BEYOND)
def test_a_process_that_ends_before_its_last_line_is_no_success_and_no_silence(here, way):
    text, line, code = BEYOND[way]
    (here / "mine.py").write_text(text + OWN)
    done = subprocess.run(
        [sys.executable, "-m", "cellbench.harness.cli", "show", "mine.py:A"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code and line in done.stderr
    assert done.stdout.count("W_hh full") == (code == 0)
    assert "mine.py" in done.stderr or way in ("a copy", "Ctrl-C")


def test_a_process_that_is_told_to_end_well_at_its_exit_keeps_its_code(here):
    (here / "mine.py").write_text(
        f"import atexit, os\natexit.register(lambda: os._exit(0))\n{STEP}return h\n"
    )
    command = [sys.executable, "-m", "cellbench.harness.cli", "check", "mine.py:step", "--against", "elman"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "deviates" in done.stdout


def test_a_forked_child_is_left_as_ever(here, capfd):
    (here / "mine.py").write_text(
        "import os\nif (child := os.fork()) == 0:\n    os._exit(7)\n"
        "assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7\nraise KeyError('in the parent')\n"
    )
    assert main(["show", "mine.py:A"]) == 2 and "in the parent" in said(capfd)
    assert __import__("os")._exit.__module__ != "cellbench.cells.foreign"


CLAIM = """
from cellbench.harness.claim import Claim


class Mine(Claim):
    '''A claim that leaves.'''

    sentence, how, rule, caption, seconds, place = "x", "x", "x", "x", 1.0, 1

    def measure(self, tick):
        raise SystemExit(0)
"""


def test_a_claim_that_leaves_is_failed(here, capfd):
    (here / "mine.py").write_text(CLAIM)
    assert main(["claims", "mine.py:Mine", "--output", "claims"]) == 1
    printed = capfd.readouterr().out
    assert "failed" in printed and "ends the interpreter: sys.exit(0) (mine.py:11)" in printed


EMPTY = [
    *(["run", f"{key}="] for key in ("cells", "backends", "probes", "tasks", "seeds", "results")),
    ["run", "cells=[]"],
    ["run", "backends=[]"],
    ["run", ""],
    ["run", "resume="],
    ["report", ""],
    ["report", "--results="],
    ["report", "--output", " "],
    ["compare", "", ""],
    ["compare", "a", "b", "--json="],
    ["history", ""],
    ["history", "--file="],
    ["import", ""],
    ["check", "", "--against", "gru"],
    ["check", "x.py:A", "--against="],
    ["check", "x.py:A", "--against", "gru", "--weights="],
    ["claims", ""],
    ["claims", "--output="],
    ["data", "fetch", ""],
    ["list", ""],
    ["show", ""],
    ["regress", "base="],
    ["regress", ""],
    *(["run", "--plan", f"{key}="] for key in ("match", "direction", "dtype", "device", "budget_s", "trust")),
    *(["run", "--plan", f"{key}="] for key in ("experiment", "workload.steps", "hydra/launcher", "threads")),
    ["run", "--plan", "experiment=[]"],
    *(["run", "--plan", f"{flag}="] for flag in ("--config-dir", "-cd", "--config-name", "--package")),
    ["run", "--plan", "probe.training.checkpoints="],
    ["run", "--plan", "probes=[lag_share]", "probe.lag_share.parameter=[]"],
    ["run", "--plan", "cells=elman:"],
    ["run", "--plan", "cells=[elman,'']"],
    ["run", "-m", "workload.hidden_size="],
    ["show", "gru:"],
    ["show", "mine.py:A:"],
    ["compare", "numba:"],
    ["compare", "resume="],
    ["regress", "resume="],
    ["report", "--probe="],
]


@pytest.mark.parametrize("command", EMPTY, ids=map(" ".join, EMPTY))
def test_an_empty_variable_is_bad_input(here, capfd, command):
    assert main(command) == 2
    said(capfd)


def test_a_folder_of_sweeps_that_is_none_is_no_empty_answer(here, capfd):
    (here / "file").write_text("")
    for name in ("file", "misspelt"):
        assert main(["sweeps", "--results", name]) == 2
        assert f"{name!r} is no folder" in said(capfd)
    assert main(["sweeps"]) == 0  # nothing was measured yet


@pytest.mark.parametrize("variable", ["CELLBENCH_CACHE", "CELLBENCH_DATA"])
def test_an_empty_variable_of_the_environment_is_bad_input(here, capfd, monkeypatch, variable):
    monkeypatch.setenv(variable, " ")
    assert main(["list"]) == 2
    assert f"{variable} is set and empty" in said(capfd)


@pytest.mark.parametrize("option", ["--cellbench-compare=", "--cellbench-json=", "--cellbench-compare= "])
def test_an_empty_option_of_pytest_skips_no_gate(here, option):
    (here / "test_gate.py").write_text(
        "def test_gate(cellbench):\n    cellbench.not_slower_than_base('os:getcwd')\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", option], capture_output=True, text=True, check=False
    )
    assert done.returncode == 4 and "it is empty" in done.stderr
