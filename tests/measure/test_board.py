"""A device's board: throttling, energy of a run, and why nothing is told; with a driver that is not there."""

import math
import sys
from types import SimpleNamespace

import pytest

from cellbench.harness.measure.board import Board, Reading, board, energy_of, throttled

pytestmark = pytest.mark.quick


class NVMLError(Exception):
    """As pynvml has it."""


def nvml(clock=1980, bits=0, energy=0.0):
    """The part of pynvml that is used; `energy` is in millijoules, None where the board has no counter."""

    def counter(handle):
        if energy is None:
            raise NVMLError("Not Supported")
        return energy() if callable(energy) else energy

    return SimpleNamespace(
        NVMLError=NVMLError,
        NVML_CLOCK_SM=1,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda uuid: uuid,
        nvmlDeviceGetCurrentClocksThrottleReasons=lambda handle: bits,
        nvmlDeviceGetTotalEnergyConsumption=counter,
        nvmlDeviceGetClockInfo=lambda handle, kind: clock,
    )


def test_a_reading_has_the_clock_in_hertz_the_joules_and_what_slows_the_device_down():
    reading = Board(nvml(1410, 0x40 | 0x04 | 0x01, 2500), "0-1").read()
    assert reading == Reading(1.41e9, ("hardware thermal slowdown",), 2.5)
    assert Board(nvml(energy=None), "0-1").read().energy_j is None
    assert Board(nvml(), "GPU-0-1").handle == Board(nvml(), "0-1").handle == "GPU-0-1"


def test_a_slowdown_and_a_clock_that_falls_by_more_than_a_tenth_are_throttling():
    fast, slower, slow = (Reading(hertz, (), None) for hertz in (2e9, 1.8e9, 1.79e9))
    assert throttled(fast, slower) is None and throttled(slow, fast) is None
    assert "2,000 MHz before, 1,790 after" in throttled(fast, slow)
    hot = Reading(2e9, ("power brake",), None)
    assert "power brake" in throttled(fast, hot) and "power brake" in throttled(hot, fast)


def test_the_energy_of_a_run_is_the_mean_over_half_a_second_of_runs():
    now, runs = [0.0], []

    def run():
        runs.append(None)
        now[0] += 0.125

    counted = Board(nvml(energy=lambda: 3000.0 * len(runs)), "0")
    assert energy_of(run, lambda: None, counted, lambda: now[0]) == 3.0 and len(runs) == 4
    assert math.isnan(energy_of(run, lambda: None, Board(nvml(energy=None), "0")))
    assert math.isnan(energy_of(run, lambda: None, None)) and len(runs) == 4


def test_without_pynvml_or_a_driver_the_reason_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert board() == (None, "pynvml is not installed; pip install nvidia-ml-py brings it")

    def no_driver():
        raise NVMLError("Driver Not Loaded")

    import torch

    silent = nvml()
    silent.nvmlInit = no_driver
    monkeypatch.setitem(sys.modules, "pynvml", silent)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="0"))
    assert board() == (None, "the driver tells nothing: Driver Not Loaded")
