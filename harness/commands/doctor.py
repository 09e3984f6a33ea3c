"""`cellbench doctor`: what this machine can run and how well it can be measured on, fact by fact as each is
found, and advice.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np
import psutil

from cellbench import cells

from ..case import Case
from ..measure.conditions import Conditions, observe, warnings_of
from ..measure.judge import Judge, Judgement
from ..measure.pair import Pair, Timing
from ..measure.power import WANTED, detectable, spread_of
from ..regress.two_sides import Side, make
from ..store import provenance

KERNEL = Case("doctor", "gru", "numba", "cpu", "float32", 1, 64, 16, 32, 64, "forward")
SECONDS = 20.0  # of the noise test
PROCESS_S = 4.0  # about what one of its processes takes, starting included
READINGS = 10_000
WIDTH = 14  # of the names
Fact = tuple[str, Any, str]  # name, value, as a person reads it


@dataclass
class Doctor:
    """What is found goes to `say` at once, a line for each fact, and into `found` by name."""

    say: Callable[[str], object] = print
    found: dict[str, Any] = field(default_factory=dict)

    def keep(self, facts: Iterator[Fact]) -> None:
        for name, value, text in facts:
            self.found[name] = value
            first, *more = text.split("\n")
            self.say("\n".join([f"{name:<{WIDTH}} {first}", *(f"{'':<{WIDTH}} {line}" for line in more)]))


def doctor(seconds: float = SECONDS, as_json: bool = False) -> int:
    """Exit code 0, with advice too. The noise test takes about so many seconds; 0 leaves it out."""
    if not 0 <= seconds < float("inf"):
        raise ValueError(f"--seconds {seconds:g} must be at least 0; 0 leaves the noise test out")
    patient, start = (
        Doctor((lambda line: None) if as_json else lambda line: print(line, flush=True)),
        observe(),
    )
    for facts in (hardware(), limits(start), clock(perf_counter), versions(), backends(), pools()):
        patient.keep(facts)
    timings: list[Timing] = []
    if seconds:
        patient.say(
            f"{'noise test':<{WIDTH}} {KERNEL.spec} on {KERNEL.backend} against itself, about {seconds:g}"
            " s ..."
        )
        patient.keep(noise(timings, seconds))
    patient.keep(advice([start, *(t.conditions for t in timings)], [level(t) for t in timings]))
    if as_json:
        print(json.dumps(patient.found, indent=1))
    return 0


def hardware() -> Iterator[Fact]:
    key = provenance.key(1)
    yield "cpu", key["cpu"], key["cpu"]
    yield "isa", key["isa"], " ".join(key["isa"]) or "none that kernels are compiled for"
    yield "gpu", key["gpu"], key["gpu"] or "none"
    memory = psutil.virtual_memory()
    sizes = {"total_bytes": memory.total, "available_bytes": memory.available}
    yield "memory", sizes, f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB available"
    yield (
        "machine key",
        provenance.key_of({"machine_key": key}),
        f"{provenance.key_of({'machine_key': key})}, on one thread",
    )


def limits(seen: Conditions) -> Iterator[Fact]:
    """What this process may use, and what holds it back."""
    total = os.cpu_count()
    yield "cores", {"usable": seen.cores, "all": total}, f"{seen.cores} of {total} may be used"
    yield (
        "quota",
        seen.quota,
        "none" if seen.quota is None else f"{seen.quota:g} cores' worth of time, by the control group",
    )
    yield "load", seen.load, f"{seen.load:.2f} over the last minute"
    yield "governor", seen.governor, seen.governor or "not told"
    yield "clock rate", seen.mhz, f"{seen.mhz:.0f} MHz" if seen.mhz else "not told"
    yield "battery", seen.battery, "feeds this machine" if seen.battery else "not in use"


def clock(now: Callable[[], float]) -> Iterator[Fact]:
    """The smallest step that the clock takes, and what reading it costs."""
    readings = np.array([now() for _ in range(READINGS)])
    steps = np.diff(readings)
    start = now()
    for _ in range(READINGS):
        now()
    cost = (now() - start) / READINGS
    step = float(min(steps[steps > 0], default=0.0))
    yield (
        "timer",
        {"step_s": step, "call_s": cost},
        f"steps of {step * 1e9:.0f} ns, {cost * 1e9:.0f} ns a reading",
    )


def versions() -> Iterator[Fact]:
    key = provenance.key(1)
    named = (
        {"python": platform.python_version()}
        | provenance.versions()
        | {name: key[name] for name in ("cuda", "cudnn")}
    )
    yield "versions", named, ", ".join(f"{name} {version}" for name, version in named.items() if version)


def pools() -> Iterator[Fact]:
    """BLAS and OpenMP libraries that are loaded now, with their threads."""
    from threadpoolctl import threadpool_info

    found = [
        {k: pool.get(k) for k in ("user_api", "internal_api", "version", "num_threads")}
        for pool in threadpool_info()
    ]
    said = [
        f"{p['internal_api']} {p['version'] or ''}".strip() + f": {p['num_threads']} threads" for p in found
    ]
    yield "thread pools", found, ", ".join(said) or "none is loaded"


def backends() -> Iterator[Fact]:
    """Which can run, on either device; of those that cannot, why."""
    for device in ("cpu", "cuda"):
        reasons = {name: cells.backend(name).unavailable(device) for name in cells.backend_names()}
        can = ", ".join(name for name, reason in reasons.items() if reason is None) or "none"
        cannot: dict[str, list[str]] = {}
        for name, reason in reasons.items():
            if reason:
                cannot.setdefault(reason, []).append(name)
        yield (
            f"on {device}",
            reasons,
            "\n".join([can, *(f"not {', '.join(names)}: {why}" for why, names in cannot.items())]),
        )


def noise(timings: list[Timing], seconds: float, judge: Callable[..., Judge] = Judge) -> Iterator[Fact]:
    """A program against itself by the rule of every comparison, and what that rule can find here; fills
    `timings`.
    """

    def keep(name: str, stage: str, process: int, found: Any) -> None:
        if isinstance(found, Timing):
            timings.append(found)

    processes = int(np.clip(seconds / PROCESS_S, 3, 11))
    judged = judge(np.random.default_rng(), processes=processes, budget_s=0.0, keep=keep)
    (said,) = judged.judge([Pair("noise", make, (Side(KERNEL), Side(KERNEL)))])
    yield "A against A", record(said), f"{said.verdict}: {said.reason}"
    if len(timings) < 2:
        return
    logs = [t.logs(arm) for arm in ("b", "again") for t in timings]
    half = len(timings)
    spread = float(np.sqrt((spread_of(logs[:half]) ** 2 + spread_of(logs[half:]) ** 2) / 2))
    least = detectable(spread)
    found = {"spread": spread, "processes": half, "detectable": least, "power": WANTED}
    yield "noise", found, f"ratios in {half} processes differ by {spread:.2%} (standard deviation)"
    yield (
        "detectable",
        least,
        f"a change of {least:.1%} is found {WANTED:.0%} of the time, by 5 processes and 5 that repeat it",
    )


def record(said: Judgement) -> dict[str, Any]:
    effect = said.effect and [said.effect.estimate, said.effect.low, said.effect.high]
    return {"verdict": said.verdict.value, "reason": said.reason, "status": said.status, "effect": effect}


def level(timing: Timing) -> float:
    """The median seconds of A."""
    return float(np.median([v for build in timing.samples["a"] for v in build]))


def advice(seen: list[Conditions], levels: list[float]) -> Iterator[Fact]:
    said = warnings_of(seen, 1, levels)
    yield "advice", [{"kind": w.kind.name, "text": w.text} for w in said], "\n".join(map(str, said)) or "none"
