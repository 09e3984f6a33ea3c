"""A point of history: one benchmark's anchored ratio in one run. It is taken from a run's rows of throughput.

The ratio is the program's time over that of its partner (`native`), both timed inside the same process: above
1 is slower than the partner, and a rise of 5 % is a slow-down of 5 %. Rows hold the inverse, ratio_to_native.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ... import store
from ...measure.bootstrap import interval
from ...store import provenance as machine

PROBE, METRIC, PARTNER = "throughput", "ratio_to_native", "native"
NAMED = {"steps": "T", "batch": "B", "input_size": "I", "hidden_size": "H"}


@dataclass(frozen=True)
class Point:
    """ratio, low and high are of time; ratios has one for each process. commit is '' outside a checkout."""

    run: str
    created: str
    commit: str
    dirty: bool
    machine: str
    benchmark: str
    ratio: float
    low: float
    high: float
    ratios: tuple[float, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "ratios", tuple(self.ratios))
        texts = (self.run, self.created, self.commit, self.machine, self.benchmark)
        numbers = (self.ratio, self.low, self.high, *self.ratios)
        if (
            not all(isinstance(text, str) for text in texts)
            or not isinstance(self.dirty, bool)
            or not self.ratios
        ):
            raise ValueError("a point has a text, a truth value or its processes missing")
        if not all(isinstance(v, (int, float)) and np.isfinite(v) and v > 0 for v in numbers):
            raise ValueError("a point has a ratio that is no number above 0")

    @property
    def of_a_commit(self) -> bool:
        """Whether the code that was measured is that of the commit: only then may a change be put down to it."""
        return bool(self.commit) and not self.dirty


def points_of(run: Path) -> tuple[list[Point], list[str]]:
    """A run's points, and the benchmarks it timed without a partner. Raises ResultsError for what is no run."""
    manifest, frame = store.read_manifest(run), store.load(run)
    git = manifest.get("git") or {}
    timed = frame[(frame["probe"] == PROBE) & (frame["status"] == "ok") & (frame["backend"] != PARTNER)]
    points, alone = [], []
    for _, rows in timed.groupby("case", sort=False):
        name, ratios = _name(rows), _ratios(rows)
        if not ratios:
            alone.append(name)
            continue
        found = interval([[float(np.log(r))] for r in ratios], np.random.default_rng(0))
        own = (
            manifest["run"],
            str(manifest.get("created", "")),
            git.get("commit") or "",
            bool(git.get("dirty")),
        )
        size = (1 + found.estimate, 1 + found.low, 1 + found.high)
        points.append(Point(*own, machine_key(manifest), name, *size, tuple(ratios)))
    return points, alone


def _ratios(rows: Any) -> list[float]:
    """Own time over the partner's, one for each process."""
    one = rows[(rows["metric"] == METRIC) & np.isfinite(rows["value"]) & (rows["value"] > 0)]
    return [float(1 / values.median()) for _, values in one.groupby("process")["value"]]


def _name(rows: Any) -> str:
    """What stays the same from run to run: 'lstm numba T=64 B=16 I=32 H=64 backward float32 cpu'."""
    first: dict[str, Any] = {k: v for k, v in rows.iloc[0].items() if isinstance(v, (str, int, np.integer))}
    cell = f"{first['cell']}:{first['options']}" if first.get("options") else first["cell"]
    sizes = [f"{short}={first[key]}" for key, short in NAMED.items() if key in first]
    useful = rows.loc[
        rows["metric"] == "useful_tokens", "value"
    ]  # sequences of unequal length are other work
    ragged = [f"tokens={useful.iloc[0]:.0f}"] if len(useful) else []
    threads = [f"threads={first['threads']}"] if first.get("threads", 1) != 1 else []
    rest = [first.get(key) for key in ("direction", "dtype", "device", "variant")]
    return " ".join([cell, first["backend"], *sizes, *ragged, *filter(None, rest), *threads])


def machine_key(manifest: dict[str, Any]) -> str:
    """The machine's key; for a run older than keys one made of what its manifest has, marked with a '~'."""
    if key := machine.key_of(manifest):
        return key
    seen, versions = manifest.get("machine") or {}, manifest.get("versions") or {}
    known = {k: seen.get(k) for k in ("cpu", "cores", "gpu")} | {
        k: versions.get(k) for k in ("torch", "numba", "numpy")
    }
    threads = (manifest.get("config") or {}).get("threads")
    return "~" + hashlib.sha256(json.dumps([known, threads], sort_keys=True).encode()).hexdigest()[:11]


def in_order(points: Sequence[Point]) -> dict[tuple[str, str], list[Point]]:
    """By benchmark and machine key: its points from the oldest run to the newest, whatever order they came
    in.
    """
    series: dict[tuple[str, str], list[Point]] = {}
    for point in sorted(points, key=lambda p: (p.created, p.run)):
        series.setdefault((point.benchmark, point.machine), []).append(point)
    return dict(sorted(series.items()))
