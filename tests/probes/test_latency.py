"""The probe latency: steps one by one, checked, timed in turns, with a median and a 99th percentile."""

import numpy as np
import pytest

from cellbench import harness
from cellbench.harness.case import Case
from cellbench.harness.cli import main
from cellbench.harness.probe import NotOk
from cellbench.harness.probes import latency

CASE = Case("latency", "gru", "numba", "cpu", "float32", 1, 16, 2, 3, 4, direction="forward")


def test_the_median_is_below_the_percentile_and_what_cannot_step_is_unsupported(tmp_path):
    options = ["probes=[latency]", "probe.latency.calls=100", "probe.latency.processes=1"]
    sizes = ["workload.steps=[8,9]", "workload.batch=2", "workload.input_size=3", "workload.hidden_size=4"]
    cells = "cells=[gru,'gru:bidirectional=true']"
    assert main(["run", cells, "backends=[numpy,numba]", *options, *sizes, f"results={tmp_path}"]) == 0
    frame = harness.load(tmp_path)
    timed = frame[(frame["status"] == "ok") & frame["metric"].str.startswith("step_")]
    assert len(timed) == 4 and set(timed["backend"]) == {"numpy", "numba"}  # T plays no part
    for _, rows in timed.groupby("backend"):
        values = rows.set_index("metric")["value"]
        assert 0 < values["step_median_s"] <= values["step_p99_s"]
    refused = frame[frame["options"] == "bidirectional=True"]
    assert set(refused["status"]) == {"unsupported"} and refused["reason"].str.contains("bidirectional").all()


def test_a_step_that_is_wrong_gets_no_time(monkeypatch):
    from cellbench.cells.backends.numba import NumbaProgram

    right = NumbaProgram.step
    monkeypatch.setattr(NumbaProgram, "step", lambda self, x: right(self, x) * np.float32(1.01))
    with pytest.raises(NotOk, match="output"):
        latency.Latency().measure(CASE, print)


def test_too_few_calls_are_refused():
    with pytest.raises(ValueError, match="calls=3; it must be at least 50"):
        latency.Latency(calls=3)
