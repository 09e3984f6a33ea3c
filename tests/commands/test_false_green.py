"""A command ends with code 0 by its own last line alone, whatever the file of a person's does."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

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
    assert os._exit.__module__ != "cellbench.cells.foreign"


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
]


@pytest.mark.parametrize("command", EMPTY, ids=map(" ".join, EMPTY))
def test_an_empty_variable_is_bad_input(here, capfd, command):
    assert main(command) == 2
    said(capfd)


@pytest.mark.parametrize("option", ["--cellbench-compare=", "--cellbench-json=", "--cellbench-compare= "])
def test_an_empty_option_of_pytest_skips_no_gate(here, option):
    (here / "test_gate.py").write_text(
        "def test_gate(cellbench):\n    cellbench.not_slower_than_base('os:getcwd')\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", option], capture_output=True, text=True, check=False
    )
    assert done.returncode == 4 and "it is empty" in done.stderr
