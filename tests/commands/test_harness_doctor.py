"""The machine key, and what `cellbench doctor` says of a machine."""

import json
import subprocess
import sys
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

KEY = {
    "cpu": "A",
    "cores": 8,
    "isa": ["avx2"],
    "gpu": None,
    "torch": "2.12.1",
    "cuda": None,
    "cudnn": None,
    "threads": 1,
}


def test_the_key_names_what_decides_a_time_and_nothing_that_changes_by_the_hour():
    assert provenance.key(1) == provenance.key(1)
    assert set(provenance.key(1)) == set(KEY) and provenance.key(2)["threads"] == 2
    assert json.loads(json.dumps(provenance.key(1))) == provenance.key(1)


def test_the_key_is_found_without_importing_torch():
    code = "import sys; from cellbench.harness import machine; machine.key(1); print('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "False\n"
    )


def test_versions_in_the_key_are_those_that_torch_itself_tells():
    import torch

    assert provenance.key(1)["torch"] == torch.__version__ and provenance.key(1)["cuda"] == torch.version.cuda


def test_the_cuda_version_is_read_from_torch_s_text(tmp_path, monkeypatch):
    folder = tmp_path / "torch"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise ImportError('torch was imported')")
    monkeypatch.setattr(
        provenance.importlib.util,
        "find_spec",
        lambda name: type("Spec", (), {"origin": folder / "__init__.py"}),
    )
    assert provenance.key(1)["cuda"] is None  # no version.py
    (folder / "version.py").write_text(
        "__version__ = '2.9.1+cu128'\ncuda: Optional[str] = '12.8'\nhip: Optional[str] = None\n"
    )
    assert provenance.key(1)["cuda"] == "12.8"


def test_arm_processors_are_known_by_their_numbers_and_features(tmp_path, monkeypatch):
    text = (
        "processor\t: 0\nFeatures\t: fp asimd sve\nCPU implementer\t: 0x41\nCPU part\t:"
        " 0xd40\n\nprocessor\t: 1\n"
    )
    (tmp_path / "cpuinfo").write_text(text)
    fields = provenance._cpu_fields(tmp_path / "cpuinfo")
    monkeypatch.setattr(provenance, "_cpu_fields", lambda: fields)
    key = provenance.key(1)
    assert key["isa"] == ["asimd", "sve"] and key["cpu"].endswith("CPU implementer 0x41, CPU part 0xd40")


def test_equal_keys_have_one_hash_in_any_order_and_every_field_changes_it():
    hashes = {provenance.key_of({"machine_key": KEY | {name: "other"}}) for name in KEY}
    same = provenance.key_of({"machine_key": dict(reversed(KEY.items()))})
    assert same == provenance.key_of({"machine_key": KEY}) and len(same) == 12
    assert len(hashes | {same}) == len(KEY) + 1


@pytest.mark.parametrize(
    "manifest", [{}, {"machine_key": None}, {"machine_key": {}}, {"machine_key": "text"}]
)
def test_a_run_without_a_key_is_nobody_s_baseline(manifest):
    assert provenance.key_of(manifest) is None


def test_differences_of_two_keys_are_named():
    other = KEY | {"torch": "2.13.0", "isa": ["avx2", "avx512f"], "gpu": "H200"}
    assert provenance.differences(KEY, KEY) == []
    assert provenance.differences(KEY, other) == [
        "isa: avx2 and avx2 avx512f",
        "gpu: none and H200",
        "torch: 2.12.1 and 2.13.0",
    ]


# ---- the doctor


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
    assert lines[0].startswith("cpu ") and all(len(line) > doctor.WIDTH for line in lines)
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
