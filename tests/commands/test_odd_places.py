"""Files that are none, files that cannot be read, and machines without what most have: one line each."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
from support.stored_runs import a_run, native, program

from cellbench.harness import store
from cellbench.harness.cli import main

CELL = """
from cellbench.cells import GatedCell, State, tanh


class Mine(GatedCell):
    '''A cell.'''

    gates, states = ("n",), ("h",)

    def equations(self, wx, wh, prev):
        return State(h=tanh(wx.n + wh.n))
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("cell.py").write_text(CELL)
    return tmp_path


def refused(capsys, *arguments):
    assert main(list(arguments)) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("cellbench: ") and printed.err.count("\n") == 1, printed.err
    return printed.err


PATHS = {
    "a home that nobody has": ("~nosuch/x", "there is no user 'nosuch'"),
    "a name too long": ("x" * 5000, " characters)' cannot be used: File name too long"),
    "a loop of links": ("loop", "Too many levels of symbolic links"),
    "a null character": ("a\0b", "null character"),
}
COMMANDS = {
    "report": ["report", "{}"],
    "report --results": ["report", "--results={}"],
    "report --output": ["report", "--output", "{}"],
    "compare": ["compare", "{}", "b"],
    "compare --json": ["compare", "a", "b", "--json", "{}"],
    "history": ["history", "{}"],
    "history --file": ["history", "--file={}"],
    "import": ["import", "{}"],
    "claims --output": ["claims", "--output={}"],
    "regress --output": ["regress", "base=HEAD", "--output={}"],
    "check": ["check", "{}.py:A", "--against", "gru"],
    "check --weights": ["check", "cell.py:Mine", "--against", "gru", "--weights", "{}"],
    "show": ["show", "{}.py:A"],
    "run resume": ["run", "resume={}"],
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("kind", PATHS)
def test_a_path_that_can_be_none_is_one_line_in_every_command(here, capsys, kind, command):
    text, said = PATHS[kind]
    Path("loop").symlink_to("loop")
    Path("loop.py").symlink_to("loop.py")
    assert said in refused(capsys, *(word.replace("{}", text) for word in COMMANDS[command]))


def test_arrays_that_are_no_npz_file_are_one_line(here, capsys):
    np.save("one.npy", np.ones(3))
    np.savez("objects.npz", a=np.array([None], dtype=object))
    Path("empty.npz").touch()
    Path("text.npz").write_text("weights")
    Path("cut.npz").write_bytes(b"PK\x03\x04" + bytes(40))
    Path("folder.npz").mkdir()
    os.mkfifo("pipe.npz")
    for name in ("one.npy", "objects.npz", "empty.npz", "text.npz", "cut.npz", "folder.npz", "pipe.npz"):
        line = refused(capsys, "check", "cell.py:Mine", "--against", "elman", "--weights", name)
        assert name in line and (".npz file" in line or line.endswith("is empty; give a file with weights\n"))


def test_a_cells_file_that_cannot_be_read_is_one_line(here, capsys, monkeypatch):
    def denied(self):
        raise PermissionError(13, "Permission denied", str(self))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", denied)
        assert "cell.py" in refused(capsys, "show", "cell.py:Mine")
    Path("folder.py").mkdir()
    os.mkfifo("pipe.py")
    for name in ("folder.py", "pipe.py"):
        assert f"no file '{name}'" in refused(capsys, "show", f"{name}:Mine")
        assert f"no file '{name}'" in refused(capsys, "check", f"{name}:Mine", "--against", "gru")


@pytest.mark.parametrize("name", [store.MANIFEST, store.BLOCKS, store.TABLE])
def test_a_run_of_which_a_file_is_a_folder_is_one_line(here, capsys, name):
    run = a_run(here / "runs", program(), native())
    (run / name).unlink()
    (run / name).mkdir()
    assert run.name in refused(capsys, "report", str(run), "--output", "page")


def test_a_working_directory_that_was_deleted_is_one_line(tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    commands = ("list", "report", "run --plan probes=[parameters]", "show nosuchcell")
    lines = "; ".join(f"{sys.executable} -m cellbench.harness.cli {c}; echo $? >&2" for c in commands)
    done = subprocess.run(
        ["bash", "-c", f"cd {gone} && rmdir {gone} && {lines}"], capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr
    assert next(line for line in done.stderr.splitlines() if line.isdecimal()) == "0"


def test_a_machine_without_proc_measures_and_is_described(here, capsys, monkeypatch):
    def absent(*_, **__):
        raise FileNotFoundError(2, "No such file or directory", "/proc/meminfo")

    for name in ("virtual_memory", "cpu_freq", "sensors_battery"):
        monkeypatch.setattr(psutil, name, absent, raising=False)
    assert main(["run", "cells=[gru]", "probes=[parameters]", "results=runs"]) == 0
    assert main(["doctor", "--seconds", "0"]) == 0
    assert "GiB available" in capsys.readouterr().out
