"""The roofline: ceilings by closed form and fake clocks, the bound, the fit, and the probe's rows."""

from dataclasses import replace

import numpy as np
import pytest

from cellbench.harness import probe as probes
from cellbench.harness.case import Case
from cellbench.harness.measure import ceilings, device_ceilings
from cellbench.harness.measure.caches import MEMORY, Level, levels
from cellbench.harness.measure.clocks import Fake, Wall
from cellbench.harness.measure.roofline import bound, device_bound, fit
from cellbench.harness.probe import NotOk
from cellbench.harness.probes import _device, roofline
from cellbench.harness.studies.gpu.pretend import pretend_cuda

pytestmark = pytest.mark.quick

LEVELS = {"L1": (1000, 100.0), "L2": (10_000, 10.0), MEMORY: (float("inf"), 1.0)}
MACHINE = {"flop_per_s": {"float32": 1e9, "float64": 5e8}, "bytes_per_s": {"L1": (1 << 15, 1e8)}}
CASE = Case("roofline", "lstm", "numpy", "cpu", "float32", 1, 8, 2, 3, 4, "forward")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_loops_do_the_work_that_is_counted(dtype):
    add, read, lanes = ceilings.kernels(dtype)
    rng = np.random.default_rng(0)
    array = rng.integers(0, 9, 5 * lanes * ceilings.REGISTERS).astype(dtype)
    first = array.reshape(-1, lanes)[:, 0].sum() + sum(range(ceilings.REGISTERS))  # each sum begins at its k
    assert read(array, 1) == first
    sums = 0.5 + np.arange(ceilings.REGISTERS)
    for _ in range(3):
        sums = sums * 0.5 + 0.5
    assert add(3, 0.5) == pytest.approx(sums.sum(), rel=1e-6)


def test_the_ceiling_is_the_work_of_a_call_over_its_seconds(monkeypatch):
    clock = Fake()
    second = clock.run_of(1.0)
    monkeypatch.setattr(
        ceilings, "kernels", lambda dtype: (lambda count, factor: second(), lambda array, times: second(), 8)
    )
    assert ceilings.flop_per_s("float32", clock) == 2 * 8 * ceilings.REGISTERS * 2000
    block = 4 * 8 * ceilings.REGISTERS
    assert ceilings.bytes_per_s(Level("L9", 0, 10 << 22), clock) == (10 << 22) // block * block


def test_the_data_caches_are_those_that_linux_names(tmp_path):
    for k, (level, kind, size) in enumerate(
        [("3", "Unified", "2M"), ("1", "Data", "32K"), ("1", "Instruction", "64K"), ("2", "Unified", "512K")]
    ):
        folder = tmp_path / f"index{k}"
        folder.mkdir()
        for name, text in (("level", level), ("type", kind), ("size", size)):
            (folder / name).write_text(f"{text}\n")
    found = {level.name: level.fits for level in levels(tmp_path)}
    assert found == {"L1": 32 << 10, "L2": 512 << 10, "L3": 2 << 20, MEMORY: float("inf")}
    assert levels(tmp_path / "none") == []


@pytest.mark.parametrize(
    "flop, weights, reads, seconds, by",
    [
        (500.0, 0, 1, 5.0, "arithmetic"),
        (500.0, 1000, 1, 100.0, "L1"),
        (500.0, 1001, 1, 101.0, "L2"),  # 1000 bytes of L1, and one of L2
        (500.0, 1001, 2, 202.0, "L2"),
        (1e6, 1001, 1, 1e4, "arithmetic"),
        (500.0, 20_000, 1, 109_100.0, MEMORY),
    ],
)
def test_the_bound_is_the_larger_of_arithmetic_and_reading_the_weights_level_by_level(
    flop, weights, reads, seconds, by
):
    found = bound(flop, 10, weights, 100.0, LEVELS, reads)
    assert (found.seconds, found.by) == (pytest.approx(seconds), by)


def test_without_known_caches_arithmetic_alone_counts():
    assert bound(500.0, 10, 1e9, 100.0, {}).by == "arithmetic"


def test_the_fit_gives_back_the_fixed_cost_and_the_cost_a_step():
    steps = [16, 32, 64, 128]
    assert fit(steps, [3e-5 + 2e-6 * t for t in steps]) == pytest.approx((3e-5, 2e-6))
    assert fit([16, 32, 32], [1.0, 2.0, 2.0]) is None


def measured(monkeypatch, case):
    monkeypatch.setattr(ceilings, "machine", lambda: MACHINE)
    _, rows, reason = probes.get("roofline", {"samples": 2}).measure(case, lambda row: None)
    return {row["metric"]: row["values"][0] for row in rows}, reason


def test_a_run_states_its_share_of_what_its_shape_allows(monkeypatch):
    # the recurrent weights are (16, 4), of 4 bytes each, and read at each of 8 steps
    rows, reason = measured(monkeypatch, CASE)
    reading, flop = 8 * 16 * 4 * 4 / 1e8, probes.cell_of(CASE).operations(3, 4).forward * 8 * 2 / 1e9
    assert rows["bound_s"] == pytest.approx(max(reading, flop)) and reason == "bound by L1"
    assert rows["share"] == pytest.approx(rows["bound_s"] / rows["seconds"])
    assert rows["step_s"] > 0 and rows["ceiling_flop_per_s"] == 1e9 and rows["bytes_per_s.L1"] == 1e8
    both, _ = measured(monkeypatch, replace(CASE, direction="backward"))
    assert both["bound_s"] == pytest.approx(2 * reading)


@pytest.mark.parametrize(
    "more, missing, words",
    [
        ({"spec": "mlstm", "input_size": 4}, "share", "no share: mlstm writes out its step"),
        ({"steps": 2}, "step_s", "no fit: 2 steps have fewer than three lengths; take 4 steps or more"),
    ],
)
def test_what_cannot_be_said_is_null_with_a_reason(monkeypatch, more, missing, words):
    rows, reason = measured(monkeypatch, replace(CASE, **more))
    assert missing not in rows and words in reason and rows["seconds"] > 0


@pytest.mark.parametrize(
    "more, words",
    [
        ({"threads": 2}, "threads is 2; set threads=1"),
        ({"dtype": "bfloat16"}, "none of bfloat16"),
    ],
)
def test_a_case_without_a_ceiling_is_unsupported(more, words):
    with pytest.raises(NotOk, match=words) as refused:
        probes.get("roofline").measure(replace(CASE, **more), lambda row: None)
    assert refused.value.status == "unsupported"


ON_CUDA = replace(CASE, backend="torch", device="cuda", dtype="bfloat16")
DEVICE = {"flop_per_s": {"bfloat16": 1e7}, "bytes_per_s": {MEMORY: (float("inf"), 1e6)}}


@pytest.mark.parametrize(
    ("flop", "moved", "seconds", "by"), [(60, 4, 6.0, "arithmetic"), (60, 80, 8.0, MEMORY)]
)
def test_on_a_device_the_bound_is_the_larger_of_arithmetic_and_what_memory_moves(flop, moved, seconds, by):
    found = device_bound(flop, moved, 10.0, 10.0)
    assert (found.seconds, found.by) == (seconds, by)


def test_a_devices_ceilings_are_the_work_over_the_seconds_in_the_format_that_is_asked_for(monkeypatch):
    import torch

    clock, seen = Fake(), []
    monkeypatch.setattr(device_ceilings, "WIDE", 8)
    monkeypatch.setattr(device_ceilings, "COPIED", 1 << 10)
    monkeypatch.setattr(device_ceilings, "clock_of", lambda device: clock)

    def product(a, b, out):
        seen.append((a.dtype, torch.backends.cuda.matmul.allow_tf32))
        clock.passed += 0.5

    monkeypatch.setattr(torch, "matmul", product)
    monkeypatch.setattr(torch.Tensor, "copy_", lambda a, b: clock.run_of(2.0)())
    with pretend_cuda():
        _device.machine.cache_clear()
        for dtype, kind, rounded in (
            ("tf32", torch.float32, True),
            ("float32", torch.float32, False),
            ("bfloat16", torch.bfloat16, False),
        ):
            found = _device.machine(dtype)
            assert found["flop_per_s"] == {dtype: pytest.approx(2 * 8**3 / 0.5)}
            assert found["bytes_per_s"][MEMORY][1] == pytest.approx(2 * 1024 / 2.0)
            assert seen[-1] == (kind, rounded)
        count = len(seen)
        assert _device.machine("tf32") and len(seen) == count  # once a process
    _device.machine.cache_clear()


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_a_run_on_a_device_is_held_against_that_device(monkeypatch, direction):
    monkeypatch.setattr(_device, "machine", lambda dtype: DEVICE)
    monkeypatch.setattr(roofline, "clock_of", lambda device: Wall())
    case = replace(ON_CUDA, direction=direction)
    with pretend_cuda():
        rows, reason = measured(monkeypatch, case)
        rates = {row["metric"]: row["values"][0] for row in _device.rates(case, 2.0)}
    # lstm of 3 inputs and 4 units: x (8, 2, 3), output (8, 2, 4), weights 16 x (3 + 4 + 2), 2 bytes each
    times = 2 if direction == "backward" else 1
    moved = 2 * times * (8 * 2 * (3 + 4) + 16 * 9)
    flop = 8 * 2 * probes.cell_of(CASE).operations(3, 4).of(direction)
    assert rows["bound_s"] == pytest.approx(max(moved / 1e6, flop / 1e7))
    assert reason == "bound by " + (MEMORY if moved / 1e6 > flop / 1e7 else "arithmetic")
    assert rows["share"] == pytest.approx(rows["bound_s"] / rows["seconds"]) and rows["step_s"]
    assert rows["ceiling_flop_per_s"] == 1e7 and rows["bytes_per_s.memory"] == 1e6
    assert rates == {
        "bytes_per_s": pytest.approx(moved / 2),
        "ceiling_flop_per_s": 1e7,
        "ceiling_bytes_per_s": 1e6,
        "flop_share": pytest.approx(flop / 2 / 1e7),
        "bytes_share": pytest.approx(moved / 2 / 1e6),
    }


def test_without_a_device_a_case_of_cuda_is_unavailable():
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a device")
    with pytest.raises(NotOk, match="no CUDA device") as refused:
        probes.get("roofline").measure(ON_CUDA, lambda row: None)
    assert refused.value.status == "unavailable"
