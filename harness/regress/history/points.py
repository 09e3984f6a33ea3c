"""A point of history: one benchmark's anchored ratio in one run, taken from its rows of throughput.

The ratio is the program's time over that of its partner (`native`), both timed inside the same process: above
1 is slower than the partner, and a rise of 5 % is a slow-down of 5 %. Rows hold the inverse, ratio_to_native.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ... import store
from ...measure.bootstrap import interval
from ...screen import one_line
from ...store import provenance
from ...store.imported import PROBE as BENCHMARK
from ...store.imported import SECONDS, is_imported
from ..benchmarks import SIZES, name_of

ALONE = "seconds, no anchor"  # ends the name of a benchmark whose ratio is a time
PROBE, METRIC, PARTNER = "throughput", "ratio_to_native", "native"
NAMED = ("cell", "options", "backend", "direction", "variant", "dtype", "device")


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
        for name in ("run", "created", "commit", "machine", "benchmark"):
            if isinstance(text := getattr(self, name), str):  # it goes to terminals and into figures
                object.__setattr__(self, name, one_line(text))
        numbers = (self.ratio, self.low, self.high, *self.ratios)
        if (
            not all(isinstance(text, str) for text in texts)
            or not isinstance(self.dirty, bool)
            or not self.ratios
        ):
            raise ValueError("a point has a text, a truth value or its processes missing")
        if not all(isinstance(v, (int, float)) and 0 < v < np.inf for v in numbers):
            raise ValueError("a point has a ratio that is no number above 0")

    @property
    def of_a_commit(self) -> bool:
        """Whether the ratio is one, of the code of a commit: only then may a change be put down to it."""
        return bool(self.commit) and not self.dirty and not self.is_time

    @property
    def is_time(self) -> bool:
        """Whether `ratio` is in seconds: of an imported benchmark, beside which nothing was timed."""
        return self.benchmark.endswith(ALONE)


@dataclass(frozen=True)
class Taken:
    """What history takes of a run: its points.

    alone: the benchmarks that it timed without a partner. strange: (metric, run) of each value that was
    left out, since no time can be so.
    """

    points: list[Point]
    alone: list[str]
    strange: list[tuple[str, str]]


def points_of(run: Path) -> Taken:
    """A run's points, and what of it has none. Raises ResultsError for no run."""
    manifest, frame = store.read_manifest(run), store.load(run)
    if is_imported(manifest):
        times = frame[(frame["status"] == "ok") & frame["metric"].str.startswith("seconds", na=False)]
        kept = times[_usable(times)]
        timed = kept[kept["case"].isin(kept.loc[kept["metric"].isin(SECONDS), "case"])]
        cases = timed.groupby("case", sort=False)
        return Taken([_imported(manifest, rows) for _, rows in cases], [], _strange(manifest, times))
    timed = frame[(frame["probe"] == PROBE) & (frame["status"] == "ok") & (frame["backend"] != PARTNER)]
    points, alone = [], []
    for _, rows in timed.groupby("case", sort=False):
        name, ratios = _name(rows), _ratios(rows)
        if ratios:
            points.append(_point(manifest, name, ratios))
        else:
            alone.append(name)
    return Taken(points, alone, _strange(manifest, timed[timed["metric"] == METRIC]))


def _usable(rows: Any) -> Any:
    return rows["value"].between(1 / store.LARGEST, store.LARGEST)


def _strange(manifest: dict[str, Any], rows: Any) -> list[tuple[str, str]]:
    return [(metric, manifest["run"]) for metric in rows.loc[~_usable(rows), "metric"]]


def _imported(manifest: dict[str, Any], rows: Any) -> Point:
    """The seconds of an imported benchmark, which has no partner: median and range over rounds."""
    first = rows.iloc[0]
    group = first["task"] if isinstance(first["task"], str) and first["task"] else None
    middle = float(rows.loc[rows["metric"].isin(SECONDS), "value"].median())
    name = name_of({"probe": BENCHMARK, "task": group, "variant": first["variant"]})
    point = _point(manifest, f"{name} {ALONE}", [middle])
    return replace(point, low=float(rows["value"].min()), high=float(rows["value"].max()))


def _point(manifest: dict[str, Any], name: str, ratios: Sequence[float]) -> Point:
    effect = interval([[float(np.log(r))] for r in ratios], np.random.default_rng(0))
    git = manifest.get("git") or {}
    return Point(
        run=manifest["run"],
        created=str(manifest.get("created", "")),
        commit=git.get("commit") or git.get("id") or "",
        dirty=bool(git.get("dirty")),
        machine=machine_key(manifest),
        benchmark=name,
        ratio=1 + effect.estimate,
        low=1 + effect.low,
        high=1 + effect.high,
        ratios=tuple(ratios),
    )


def _ratios(rows: Any) -> list[float]:
    """The program's time over the partner's, one for each process."""
    one = rows[(rows["metric"] == METRIC) & _usable(rows)]
    return [float(1 / values.median()) for _, values in one.groupby("process")["value"]]


def _name(rows: Any) -> str:
    """The name that stays from run to run: 'lstm numba T=64 B=16 I=32 H=64 backward float32 cpu'.

    A file of history outlives versions, so dtype and device always stand in it. The number of tokens does
    where sequences have lengths of their own, for other lengths are other work.
    """
    first = {k: v for k, v in rows.iloc[0].items() if isinstance(v, (str, int, np.integer)) and v != ""}
    tokens = rows.loc[rows["metric"] == "useful_tokens", "value"]
    columns = {key: first.get(key) for key in (*NAMED, *SIZES.values())}
    name = name_of(columns, usual={}, extra=[f"tokens={tokens.iloc[0]:.0f}"] if len(tokens) else [])
    return name if first.get("threads", 1) == 1 else f"{name} threads={first['threads']}"


def machine_key(manifest: dict[str, Any]) -> str:
    """The machine's key; for a run older than keys one made of what its manifest has, marked with a '~'."""
    if key := provenance.key_of(manifest):
        return key
    machine, versions = manifest.get("machine") or {}, manifest.get("versions") or {}
    known = {k: machine.get(k) for k in ("cpu", "cores", "gpu")} | {
        k: versions.get(k) for k in ("torch", "numba", "numpy")
    }
    threads = (manifest.get("config") or {}).get("threads")
    return "~" + hashlib.sha256(json.dumps([known, threads], sort_keys=True).encode()).hexdigest()[:11]


def in_order(points: Sequence[Point]) -> dict[tuple[str, str], list[Point]]:
    """The points of each benchmark and machine key, from the oldest run to the newest."""
    series: dict[tuple[str, str], list[Point]] = {}
    for point in sorted(points, key=lambda p: (p.created, p.run)):
        series.setdefault((point.benchmark, point.machine), []).append(point)
    return dict(sorted(series.items()))
