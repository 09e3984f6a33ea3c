"""What would plan, count or read for minutes is refused in seconds, in one line with the figure."""

import pytest

from cellbench.harness.cli import main

# command line, and the figure that its line names
HUGE = {
    "show elman:layers=100000000": "100,000,000",
    "show elman:layers=1001": "1,001",
    "show mamba --hidden-size 100000": "parameters",
    "show mlstm --hidden-size 99999999 --input-size 99999999": "parameters",
    "show gru --hidden-size 99999999999": "11",
    "check my.py:A --against elman:layers=100000000": "100,000,000",
    "run --plan cells=[elman:layers=100000000]": "100,000,000",
    "run --plan match=parameters workload.hidden_size=10000000": "20,000,000",
    "run --plan match=operations workload.hidden_size=10000000": "20,000,000",
    "run --plan match=state workload.hidden_size=10000000": "20,000,000",
    "run --plan seeds=1000000": "1,000,000",
    "run --plan seeds=1000000000000": "1,000,000,000,000",
    "run --plan seeds=99999": "",
    "run --plan threads=100000000": "100,000,000",
    "run --plan workload.hidden_size=99999999999999": "bytes",
    "run --plan -m workload.hidden_size=range(1,1000000000)": "1,001",
    "compare numba:torch workload.hidden_size=9999999999999": "bytes",
}


@pytest.mark.parametrize("command", HUGE)
def test_a_size_that_would_take_minutes_is_one_line_within_seconds(capsys, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(command.split()) == 2
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1 and HUGE[command] in printed.err and len(printed.err) < 400


def test_a_size_that_merely_does_not_fit_is_planned(capsys):
    assert main(["run", "--plan", "workload.hidden_size=999999", "probes=[throughput]", "cells=[gru]"]) == 0
    assert "H=999999" in capsys.readouterr().out
