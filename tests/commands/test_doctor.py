"""`cellbench doctor`: every fact is found and said, and the noise test tells what it can find."""

import json
from functools import partial

import numpy as np
import pytest

from cellbench import cells
from cellbench.harness import cli
from cellbench.harness.commands import doctor
from cellbench.harness.measure import worker
from cellbench.harness.measure.conditions import Conditions
from cellbench.harness.measure.judge import Judge
from cellbench.harness.measure.pair import Timing
from cellbench.harness.measure.power import detectable
from cellbench.harness.store import provenance


def test_every_backend_can_run_or_says_why_not(capsys):
    assert cli.main(["doctor", "--seconds", "0", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    for device in ("cpu", "cuda"):
        assert found[f"on {device}"] == {
            name: cells.backend(name).unavailable(device) for name in cells.backend_names()
        }
    assert found["machine key"] == provenance.key_of({"machine_key": provenance.key(1)})
    assert found["versions"]["torch"] == provenance.versions()["torch"] and found["cores"]["usable"] >= 1
    assert "noise" not in found


def test_lines_are_as_a_person_reads_them(capsys):
    assert cli.main(["doctor", "--seconds", "0"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("cpu ") and all(len(line) > doctor.WIDTH + 1 for line in lines)
    names = [line[: doctor.WIDTH].strip() for line in lines]
    assert {"load", "timer", "versions", "on cpu", "on cuda", "thread pools", "advice"} <= set(names)


@pytest.mark.parametrize("seconds", ["-1", "nan", "inf"])
def test_a_noise_test_of_no_length_is_refused_in_one_line(seconds, capsys):
    assert cli.main(["doctor", "--seconds", seconds]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_timer_is_read_through_the_clock_given():
    readings = iter(np.arange(3 * doctor.READINGS) * 5e-8)
    ((_, found, text),) = doctor.clock(lambda: next(readings))
    assert found["step_s"] == pytest.approx(5e-8) and found["call_s"] == pytest.approx(5e-8, rel=1e-3)
    assert "50 ns" in text


def test_a_clock_that_stands_still_has_no_step():
    ((_, found, _),) = doctor.clock(lambda: 1.0)
    assert found == {"step_s": 0.0, "call_s": 0.0}


def process(logs):
    """Stands for a worker: the next timing has this log ratio of B, and none of A'."""
    left = iter(logs)

    def call(function, pairs, seed, effort, *, on_message, **options):
        arms = {"a": 1.0, "b": np.exp(next(left)), "again": 1.0}
        on_message(
            (pairs[0].name, Timing({arm: [[v] * 3] * 3 for arm, v in arms.items()}, Conditions(2, 0.0)))
        )
        return worker.Result("ok")

    return call


def test_the_noise_test_tells_the_change_that_can_be_found_here():
    logs, timings = [0.01, -0.01, 0.0, 0.005, -0.005], []
    facts = {
        name: value for name, value, _ in doctor.noise(timings, 20.0, partial(Judge, call=process(logs)))
    }
    spread = np.std(logs, ddof=1) / np.sqrt(2)  # of both arms, and A' has none
    assert (
        facts["noise"]["spread"] == pytest.approx(spread) and facts["noise"]["processes"] == len(timings) == 5
    )
    assert (
        facts["detectable"] == pytest.approx(detectable(spread)) and facts["A against A"]["verdict"] == "SAME"
    )


def test_a_noise_test_that_cannot_run_says_so_and_claims_nothing():
    def call(*arguments, on_message, **options):
        return worker.Result("crashed", "SIGSEGV")

    facts = list(doctor.noise([], 20.0, partial(Judge, call=call)))
    assert [name for name, *_ in facts] == ["A against A"]
    assert "INVALID: crashed: SIGSEGV" in facts[0][2]


def test_the_noise_test_times_a_real_kernel():
    timings = []
    facts = {name: value for name, value, _ in doctor.noise(timings, 12.0)}
    assert len(timings) >= 3 and facts["A against A"]["status"] == "ok"
    assert facts["noise"]["spread"] > 0 and facts["detectable"] >= 0.015
