"""Says which backends run here, and how small a change this machine can tell.

It prints hardware, limits, versions and thread pools, then times a kernel against itself. From that noise
comes the smallest change that a comparison finds here, and advice how to make it smaller.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np

from cellbench import cells
from cellbench.cells.kernels import modules

from ..case import Case
from ..measure.conditions import Conditions, observe, warnings_of
from ..measure.judge import Judge, Judgement
from ..measure.pair import Pair, Timing
from ..measure.power import WANTED, detectable, spread_of
from ..regress.two_sides import Side, make
from ..store import provenance
from ._arguments import epilog
from ._table import print_facts

KERNEL = Case("doctor", "gru", "numba", "cpu", "float32", 1, 64, 16, 32, 64, "forward")
SECONDS = 20.0  # of the noise test
PROCESS_S = 4.0  # about what one of its processes takes, starting included
READINGS = 10_000
WIDTH = 14  # of the names
Fact = tuple[str, Any, str]  # name, value, as a person reads it, in one or more lines
UNKEPT = "each process compiles its kernels again; CELLBENCH_CACHE=DIR names a folder that can be written"
EXAMPLES = """\
  cellbench doctor
  cellbench doctor --seconds 60
  cellbench doctor --seconds 0 --json"""


def add(parser: argparse.ArgumentParser) -> None:
    """Names the arguments."""
    parser.usage = "cellbench doctor [--seconds S] [--json]"
    parser.add_argument(
        "--seconds",
        type=float,
        default=SECONDS,
        metavar="S",
        help="seconds of the noise test; 0 leaves it out (default: %(default)g)",
    )
    parser.add_argument("--json", action="store_true", help="print one object instead of lines")
    parser.epilog = epilog(EXAMPLES, {0: "all well, with advice too"})


def do(arguments: argparse.Namespace) -> int:
    """Runs `cellbench doctor`; returns the exit code."""
    return doctor(arguments.seconds, arguments.json)


@dataclass
class Report:
    """Facts by name; each is shown at once, since the noise test takes a while."""

    show: Callable[[str, Sequence[str]], object]
    facts: dict[str, Any] = field(default_factory=dict)

    def add(self, facts: Iterator[Fact]) -> None:
        """Keeps and shows the facts."""
        for name, value, text in facts:
            self.facts[name] = value
            self.show(name, text.split("\n"))


def doctor(seconds: float = SECONDS, as_json: bool = False) -> int:
    """Prints all facts and advice; returns 0. The noise test takes about so many seconds; 0 leaves it out."""
    if not 0 <= seconds < float("inf"):  # NaN is refused too
        raise ValueError(f"--seconds {seconds:g} must be at least 0; 0 leaves the noise test out")
    report, start = Report(silent if as_json else printed), observe()
    for facts in (hardware(), limits(start), clock(perf_counter), versions(), backends(), pools()):
        report.add(facts)
    timings: list[Timing] = []
    if seconds:
        kernel = f"{KERNEL.spec} on {KERNEL.backend} against itself, about {seconds:g} s ..."
        report.show("noise test", [kernel])
        report.add(noise(timings, seconds))
    report.add(advice([start, *(t.conditions for t in timings)], [level(t) for t in timings]))
    if as_json:
        print(json.dumps(report.facts, indent=1))
    return 0


def printed(name: str, lines: Sequence[str]) -> None:
    """Prints a fact."""
    print_facts([(name, lines)], WIDTH)


def silent(name: str, lines: Sequence[str]) -> None:
    """Prints nothing: the facts come as one object at the end."""


def hardware() -> Iterator[Fact]:
    """Processor, GPU, memory, and the machine key made of them."""
    key = provenance.key(1)
    yield "cpu", key["cpu"], key["cpu"]
    yield "isa", key["isa"], " ".join(key["isa"]) or "none that kernels are compiled for"
    yield "gpu", key["gpu"], key["gpu"] or "none"
    total, available = provenance.memory_bytes()
    sizes = {"total_bytes": total, "available_bytes": available}
    yield "memory", sizes, f"{available / 2**30:.1f} of {total / 2**30:.1f} GiB available"
    key_hash = provenance.key_of({"machine_key": key})
    yield "machine key", key_hash, f"{key_hash}, on one thread"


def limits(now: Conditions) -> Iterator[Fact]:
    """The cores and time that this process may use, and what slows it down now."""
    total = os.cpu_count()
    yield "cores", {"usable": now.cores, "all": total}, f"{now.cores} of {total} may be used"
    quota = "none" if now.quota is None else f"{now.quota:g} cores' worth of time, by the control group"
    yield "quota", now.quota, quota
    yield "load", now.load, f"{now.load:.2f} over the last minute"
    yield "governor", now.governor, now.governor or "not told"
    yield "clock rate", now.mhz, f"{now.mhz:.0f} MHz" if now.mhz else "not told"
    yield "battery", now.battery, "feeds this machine" if now.battery else "not in use"


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
    """Python, the packages that figures depend on, and CUDA's libraries."""
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

    loaded = [
        {k: pool.get(k) for k in ("user_api", "internal_api", "version", "num_threads")}
        for pool in threadpool_info()
    ]
    lines = [
        f"{p['internal_api']} {p['version'] or ''}".strip() + f": {p['num_threads']} threads" for p in loaded
    ]
    yield "thread pools", loaded, ", ".join(lines) or "none is loaded"


def backends() -> Iterator[Fact]:
    """The backends that can run, on either device; of those that cannot, the reason."""
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
    """A program against itself by the rule of every comparison, and the change that this rule finds here.

    Fills `timings`.
    """

    def keep(name: str, stage: str, process: int, result: Any) -> None:
        if isinstance(result, Timing):
            timings.append(result)

    processes = int(np.clip(seconds / PROCESS_S, 3, 11))
    judging = judge(np.random.default_rng(), processes=processes, budget_s=0.0, keep=keep)
    (judgement,) = judging.judge([Pair("noise", make, (Side(KERNEL), Side(KERNEL)))])
    yield "A against A", record(judgement), f"{judgement.verdict}: {judgement.reason}"
    if len(timings) < 2:
        return
    # B and A' both are A measured again, so that each process gives two ratios of no change
    logs = [t.logs(arm) for arm in ("b", "again") for t in timings]
    half = len(timings)
    spread = float(np.sqrt((spread_of(logs[:half]) ** 2 + spread_of(logs[half:]) ** 2) / 2))
    least = detectable(spread)
    values = {"spread": spread, "processes": half, "detectable": least, "power": WANTED}
    yield "noise", values, f"ratios in {half} processes differ by {spread:.2%} (standard deviation)"
    yield (
        "detectable",
        least,
        f"a change of {least:.1%} is found {WANTED:.0%} of the time, by 5 processes and 5 that repeat it",
    )


def record(judgement: Judgement) -> dict[str, Any]:
    """A judgement as plain values."""
    effect = judgement.effect and [judgement.effect.estimate, judgement.effect.low, judgement.effect.high]
    return {
        "verdict": judgement.verdict.value,
        "reason": judgement.reason,
        "status": judgement.status,
        "effect": effect,
    }


def level(timing: Timing) -> float:
    """The median seconds of A."""
    return float(np.median([v for build in timing.samples["a"] for v in build]))


def advice(conditions: list[Conditions], levels: list[float]) -> Iterator[Fact]:
    """Warnings of the conditions that were observed, each with what helps."""
    warnings = warnings_of(conditions, 1, levels)
    values = [{"kind": w.kind.name, "text": w.text} for w in warnings]
    lines = list(map(str, warnings))
    if reason := modules.unwritable():
        values.append({"kind": "CACHE", "text": f"{reason}: {UNKEPT}"})
        lines.append(f"{reason}: {UNKEPT}")
    yield "advice", values, "\n".join(lines) or "none"
