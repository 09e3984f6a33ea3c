"""`harness.run` below a notebook's cell: a bar while it goes on, and one line that stays."""

from __future__ import annotations

import sys
import types

import pytest

from cellbench import harness
from cellbench.harness.runs.notebook_bar import NotebookBar

CHEAP = {"cells": ["gru", "elman"], "probes": ["parameters"], "backends": ["numpy"]}


class Output:
    """An output of a notebook: what it showed, one after the other."""

    def __init__(self):
        self.shown = []

    def update(self, data, raw):
        assert raw
        self.shown.append(data)


@pytest.fixture
def outputs(monkeypatch):
    """The outputs that a kernel was asked for; IPython is not among the tested packages."""
    made = []

    def display(data, raw, display_id):
        assert raw and display_id
        made.append(Output())
        made[-1].shown.append(data)
        return made[-1]

    ipython = types.ModuleType("IPython")
    ipython.get_ipython = lambda: types.SimpleNamespace(kernel=object())
    ipython.display = types.ModuleType("IPython.display")
    ipython.display.display = display
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", ipython.display)
    return made


def test_a_run_leaves_one_line_in_the_place_of_its_bar(outputs, tmp_path, capsys):
    run = harness.run(**CHEAP, results=tmp_path)
    (output,) = outputs
    assert "<progress" in output.shown[1]["text/html"] and "gru" in output.shown[1]["text/plain"]
    assert set(output.shown[-1]) == {"text/plain"}
    line = output.shown[-1]["text/plain"]
    assert line.startswith("2 ok; run: ") and run.folder.name in line and "\n" not in line
    assert "".join(capsys.readouterr()) == ""


def test_a_case_that_went_wrong_is_told_and_stays(outputs, tmp_path, capsys):
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        "from cellbench.harness.probe import NotOk, Probe\nfrom cellbench.harness.case import Case\n\n\n"
        "class Lost(Probe):\n"
        "    def cases(self, plan):\n"
        "        return [Case(self.name, 'gru', 'numpy')]\n\n"
        "    def measure(self, case, emit):\n"
        "        raise NotOk('failed', 'it is <lost>')\n\n"
        "    def estimate_s(self, case):\n"
        "        return 1.0\n"
    )
    run = harness.run(cells=["gru"], probes=[f"{wrong}:Lost"], backends=["numpy"], results=tmp_path)
    assert not run.ok and "it is <lost>" in capsys.readouterr().err
    assert outputs[0].shown[-1]["text/plain"].startswith("1 failed; run: ")


def test_a_bar_is_drawn_five_times_a_second_at_most_and_a_name_stays_text():
    now, output = [0.0], Output()
    bar = NotebookBar(lambda data, **_: output, 10.0, lambda: now[0])
    for at in (0.0, 0.1, 0.19, 0.25):
        now[0] = at
        bar.update(0, completed=2.5, description="<b>gru")
    assert len(output.shown) == 2 and output.shown[0]["text/plain"] == "25%  <b>gru"
    assert "&lt;b&gt;gru" in output.shown[0]["text/html"] and 'value="0.250"' in output.shown[0]["text/html"]


def test_without_a_notebook_it_prints_what_it_did(tmp_path, capsys):
    harness.run(**CHEAP, results=tmp_path)
    told = capsys.readouterr()
    counts, run = told.out.splitlines()
    assert counts == "2 ok" and run.startswith("run: ")
    assert [line.split("  [")[0].split(": ")[1] for line in told.err.splitlines()] == ["ok", "ok"]
