"""What the processes together say of a point: ratios with intervals, and what disturbed the measurement."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...measure.bootstrap import interval
from ...measure.conditions import SLACK
from .points import OWN, Point
from .timing import Timing

WIDEST = 0.05  # of half an interval, from which on a point is measured again
MOST_WAITED = 0.10  # share of the time for which other work may have had the core
MOST_OTHERS = 0.05  # share of processor time that other threads of the process may take


@dataclass(frozen=True)
class Ratio:
    """A peer's time over the kernels', with its interval over processes and builds: above 1 is faster."""

    value: float
    low: float
    high: float

    @property
    def half(self) -> float:
        """Half of the interval, as a share of the value."""
        return (self.high - self.low) / 2 / self.value


@dataclass(frozen=True)
class Judged:
    """A point: seconds by backend, ratios by peer, and the reasons why it should be measured again.

    share is that of the least time that the shape allows, which `bound_by` sets, in the kernels' time.
    """

    point: Point
    processes: int
    seconds: dict[str, float] = field(default_factory=dict)
    ratios: dict[str, Ratio] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    ran: dict[str, str] = field(default_factory=dict)
    troubles: dict[str, str] = field(default_factory=dict)
    share: float | None = None
    bound_by: str = ""
    disturbed: tuple[str, ...] = ()
    load: float = 0.0

    @property
    def best(self) -> str | None:
        """The fastest peer, which the goals are held against; None where there is no ratio."""
        return min(self.ratios, key=lambda peer: self.seconds[peer], default=None)

    @property
    def ratio(self) -> Ratio | None:
        """The ratio to the fastest peer."""
        return self.ratios[self.best] if self.best else None

    @property
    def width(self) -> float:
        """The widest of the intervals, as `Ratio.half`."""
        return max((ratio.half for ratio in self.ratios.values()), default=0.0)


def judge(point: Point, timings: Sequence[Timing], rng: np.random.Generator) -> Judged:
    """One point, of the timings of one attempt."""
    seconds: dict[str, list[float]] = defaultdict(list)
    logs: dict[str, list[list[float]]] = defaultdict(list)
    said: dict[str, dict[str, Any]] = {"errors": {}, "ran": {}, "troubles": {}}
    for timing in timings:
        for name, value in timing.seconds.items():
            seconds[name].append(value)
        for peer, values in timing.logs.items():
            logs[peer].append(values)
        for what, known in said.items():
            known |= getattr(timing, what)
    ratios = {}
    for peer, rows in logs.items():
        if said["troubles"].keys() & {peer, OWN}:
            continue
        of = interval(rows, rng)
        ratios[peer] = Ratio(1 + of.estimate, 1 + of.low, 1 + of.high)
    medians = {name: float(np.median(values)) for name, values in seconds.items()}
    load = max((timing.load for timing in timings), default=0.0)
    reasons = disturbances(timings, ratios)
    shares = {timing.bound_by: timing.share for timing in timings if timing.share is not None}
    return Judged(
        point,
        len(timings),
        medians,
        ratios,
        **said,
        share=float(np.median([t.share for t in timings if t.share is not None])) if shares else None,
        bound_by=", ".join(shares),
        disturbed=reasons,
        load=load,
    )


def disturbances(timings: Sequence[Timing], ratios: dict[str, Ratio]) -> tuple[str, ...]:
    """Why the point should be measured again; nothing where all is well."""
    reasons = []
    for peer, ratio in ratios.items():
        if ratio.half > WIDEST:
            reasons.append(f"the interval against {peer} is ±{ratio.half:.0%}")
    waited = max((t.waited for t in timings if t.waited is not None), default=0.0)
    if waited > MOST_WAITED:
        reasons.append(f"other work had the core for {waited:.0%} of the time")
    over = [t for t in timings if t.load > t.cores + SLACK]
    if over:
        worst = max(over, key=lambda t: t.load)
        reasons.append(f"load {worst.load:.1f} on {worst.cores} cores")
    others = max((t.others for t in timings), default=0.0)
    if others > MOST_OTHERS:
        reasons.append(f"other threads of the process took {others:.0%} of its processor time")
    return tuple(reasons)


def better(one: Judged, other: Judged) -> Judged:
    """Of two attempts the one of more processes, then the less disturbed one, then the narrower interval.

    An attempt that the time ran out on has fewer processes, whose interval says too little.
    """
    return min((one, other), key=lambda judged: (-judged.processes, len(judged.disturbed), judged.width))


def geometric_mean(values: Sequence[float]) -> float:
    return float(np.exp(np.mean(np.log(values))))
