"""What the board of a CUDA device says of itself: its clock, what slows it down, its energy.

The driver's library NVML tells, through the package pynvml, which is optional.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

# bits of nvmlDeviceGetCurrentClocksThrottleReasons (NVML's manual, "Clocks Throttle Reasons")
SLOWED = {
    0x08: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
}
SLOWER = 0.9  # of the clock before: a device that ran into its limits meanwhile
ENERGY_S = 0.5  # of runs: the board's counter moves on every 20 to 100 ms


@dataclass(frozen=True)
class Reading:
    """At an instant: the clock, what slows it down, the joules since the driver was loaded."""

    clock_hz: float
    slowed: tuple[str, ...]
    energy_j: float | None


class Board:
    """A device's board, by its UUID as torch has it."""

    def __init__(self, nvml: Any, uuid: str) -> None:
        self.nvml = nvml
        nvml.nvmlInit()
        self.handle = nvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid.removeprefix('GPU-')}")

    def read(self) -> Reading:
        nvml, handle = self.nvml, self.handle
        bits = nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)
        try:
            energy = nvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3
        except nvml.NVMLError:  # boards before Volta have no counter
            energy = None
        clock = nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM) * 1e6
        return Reading(clock, tuple(name for bit, name in SLOWED.items() if bits & bit), energy)


def board() -> tuple[Board | None, str | None]:
    """The current device's board; or None, and why nothing is told of it."""
    try:
        import pynvml
    except ImportError:
        return None, "pynvml is not installed; pip install nvidia-ml-py brings it"
    import torch

    try:
        return Board(pynvml, str(torch.cuda.get_device_properties(0).uuid)), None
    except (pynvml.NVMLError, AttributeError) as error:  # no driver; a torch that knows no UUID
        return None, f"the driver tells nothing: {error}"


def throttled(before: Reading, after: Reading) -> str | None:
    """None, or why what was measured between two readings is not the device's speed."""
    slowed = sorted({*before.slowed, *after.slowed})
    if not slowed and after.clock_hz >= SLOWER * before.clock_hz:
        return None
    clocks = f"{before.clock_hz / 1e6:,.0f} MHz before, {after.clock_hz / 1e6:,.0f} after"
    return f"the device was throttled ({', '.join([*slowed, clocks])}); measure it again"


def energy_of(
    run: Callable[[], Any],
    sync: Callable[[], Any],
    on: Board | None,
    timer: Callable[[], float] = perf_counter,
) -> float:
    """Joules of a run, the mean over half a second of them; NaN where the board has no counter."""
    before = on.read().energy_j if on else None
    if on is None or before is None:
        return math.nan
    start, runs = timer(), 0
    while timer() - start < ENERGY_S:
        run()
        sync()
        runs += 1
    after = on.read().energy_j
    assert after is not None
    return (after - before) / runs
