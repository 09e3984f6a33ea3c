"""The state of the machine while it measures, and warnings: each names the likely cause and what to do."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

import psutil

from . import cgroups


@dataclass(frozen=True)
class Conditions:
    """The state of the machine at one time, or over a span; None where the system does not tell.

    This process may use `cores`, and its control group may spend `quota` processor seconds a second. mhz is
    the lowest clock rate seen and highest_mhz the highest; battery is whether one feeds the machine now.
    """

    cores: int
    load: float
    mhz: float | None = None
    highest_mhz: float | None = None
    battery: bool = False
    governor: str | None = None
    quota: float | None = None

    def until(self, later: Conditions) -> Conditions:
        """Both ends of a measurement as one."""
        rates = [rate for c in (self, later) for rate in (c.mhz, c.highest_mhz) if rate]
        return replace(
            later,
            load=max(self.load, later.load),
            mhz=min(rates, default=None),
            highest_mhz=max(rates, default=None),
            battery=self.battery or later.battery,
        )


def observe() -> Conditions:
    """The conditions right now."""
    mhz = _mhz()
    return Conditions(allowed(), os.getloadavg()[0], mhz, mhz, _battery(), _governor(), quota())


def allowed() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cores() -> int:
    """The same, and no more than its control group may spend; at least one."""
    limit = quota()
    return max(1, allowed() if limit is None else min(allowed(), int(limit)))


class Warning(Enum):
    """A condition that may have spoilt a measurement: the likely cause, and what to do."""

    LOAD = (
        "other work loads this machine (load {load:.1f} on {cores}): stop that work, or measure again"
        " when it is done"
    )
    QUOTA = (
        "this container stops when it has used {quota:g} cores, and {threads} threads can: allow it at least"
        " one core more"
    )
    THREADS = "{threads} threads on {cores} hinder each other: set threads={most} or less"
    THROTTLED = (
        "the clock fell from {highest:.0f} to {mhz:.0f} MHz: let the machine cool, or fix its clock rate"
    )
    DRIFT = (
        "A itself took {drift:.0f} % more in its slowest process than in its fastest: other work, or a"
        " changing clock"
    )
    BATTERY = "the machine runs on its battery, which slows it: plug it in"
    GOVERNOR = (
        "the governor {governor!r} changes the clock rate: `cpupower frequency-set -g performance` fixes it"
    )


@dataclass(frozen=True)
class Warned:
    """A warning as it is said."""

    kind: Warning
    text: str

    def __str__(self) -> str:
        return self.text


MOST_DRIFT, LOWEST_RATE = 0.25, 0.9
SLACK = 0.5  # of the load, which counts this measurement too and is a mean over a minute


def warnings_of(seen: Sequence[Conditions], threads: int, levels: Sequence[float]) -> tuple[Warned, ...]:
    """Warnings about a measurement made under these conditions.

    levels are the seconds of one anchor in each process: where it drifts, so did the machine.
    """
    if not seen:
        return ()
    cores, load = min(c.cores for c in seen), max(c.load for c in seen)
    rates = [rate for c in seen for rate in (c.mhz, c.highest_mhz) if rate]
    highest, mhz = max(rates, default=0.0), min(rates, default=0.0)
    drift = max(levels) / min(levels) - 1 if levels and min(levels) > 0 else 0.0
    governor, quota = seen[0].governor, min((c.quota for c in seen if c.quota), default=None)
    applies = {
        Warning.LOAD: load > cores + SLACK,
        Warning.QUOTA: quota is not None and quota < threads + SLACK,
        Warning.THREADS: threads > cores,
        Warning.THROTTLED: mhz < LOWEST_RATE * highest,
        Warning.DRIFT: drift > MOST_DRIFT,
        Warning.BATTERY: any(c.battery for c in seen),
        Warning.GOVERNOR: governor not in (None, "performance"),
    }
    facts = {
        "cores": f"{cores} core{'s' * (cores != 1)}",
        "most": cores,
        "load": load,
        "threads": threads,
        "highest": highest,
        "mhz": mhz,
        "drift": 100 * drift,
        "governor": governor,
        "quota": quota,
    }
    return tuple(Warned(kind, kind.value.format(**facts)) for kind, is_so in applies.items() if is_so)


def quota(groups: Path = cgroups.ROOT, membership: Path = cgroups.OWN) -> float | None:
    """Cores' worth of time that the control group of this process may spend; None where nothing limits it.

    It is the least over the group and those above it. Version 2 of control groups writes "MAX PERIOD" in
    microseconds, version 1 has a file for each.
    """
    if not membership.exists():
        return None
    limits = [_numbers(folder / "cpu.max") for folder in cgroups.folders(groups, membership)]
    limits.append(_numbers(groups / "cpu/cpu.cfs_quota_us") + _numbers(groups / "cpu/cpu.cfs_period_us"))
    return min(
        (spent / period for spent, period in (v for v in limits if len(v) == 2) if spent > 0 < period),
        default=None,
    )


def _numbers(file: Path) -> list[float]:
    """The numbers in a file of the kernel; none where it is absent or says max."""
    try:
        return [float(word) for word in file.read_text().split()]
    except (OSError, ValueError):
        return []


def _mhz() -> float | None:
    try:
        rate = psutil.cpu_freq() if hasattr(psutil, "cpu_freq") else None
    except OSError:  # there is no /proc
        return None
    return rate.current if rate and rate.current else None


def _battery() -> bool:
    try:
        state = psutil.sensors_battery() if hasattr(psutil, "sensors_battery") else None
    except OSError:
        return False
    return state is not None and state.power_plugged is False


def _governor() -> str | None:
    try:
        return Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").read_text().strip()
    except OSError:
        return None
