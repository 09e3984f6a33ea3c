"""A comparison that was interrupted, gone on with: what it asked for, and what it had timed already."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import store
from ..measure.conditions import Conditions, observe
from ..measure.pair import ARMS, Timing
from ..runs import resume
from ..runs.values import ConfigError
from ..store import manifest

ENTRY = "again"  # of a manifest: the command, what it was given, its overrides, and the seed of its draws
CONDITIONS = ("cores", "load", "mhz", "highest_mhz", "battery", "quota", "loops")  # as numbers, in this order


@dataclass(frozen=True)
class Asked:
    """What a comparison was asked for, as its manifest says; `folder` is that of a run to go on with."""

    command: str  # regress or compare
    given: str  # the revision, or A:B
    overrides: tuple[str, ...]
    seed: int
    commit: str = ""  # of the revision
    folder: Path | None = None

    def entry(self) -> dict[str, Any]:
        """What the manifest keeps of it."""
        entry = {name: value for name, value in vars(self).items() if name != "folder"}
        return entry | {"overrides": [*self.overrides]}

    def line(self, folder: Path) -> str:
        """The command that goes on with the run in a folder."""
        return f"cellbench {self.command} resume={shlex.quote(str(folder))}"


def asked(name: str, command: str) -> Asked:
    """What the run in a folder was asked for. Raises ConfigError where it cannot be gone on with.

    Only a run that this user made says which revision or cell to run.
    """
    folder, found = resume.found(name)
    entry = found.get(ENTRY) or {}
    if entry.get("command") != command:
        made = f"made by cellbench {entry['command']}" if entry else "no comparison that can be gone on with"
        raise ConfigError(f"run {name} is {made}; resume=RUN of {command} takes a run of {command}")
    if not manifest.is_ours(found):
        raise ConfigError(f"run {name} was not made by you on this machine; measure anew")
    resume.same_commit(name, found)
    resume.same(name, found, found.get("asked") or {})
    return Asked(**entry | {"overrides": tuple(entry["overrides"])}, folder=folder)


def timings(folder: Path) -> dict[str, dict[tuple[str, int], Timing]]:
    """By a case's id what was timed of it whole, by stage and process. What was measured last counts."""
    known: dict[str, dict[tuple[str, int], Timing]] = {}
    for block in store.read_blocks(folder):
        for key, timing in _of_block(block["series"]):
            known.setdefault(block["case"], {})[key] = timing
    return known


def conditions(timing: Timing) -> list[float]:
    """The conditions of a timing and its loops, as numbers in the order of CONDITIONS; NaN for none."""
    values = vars(timing.conditions) | {"loops": timing.loops}
    return [math.nan if values[name] is None else float(values[name]) for name in CONDITIONS]


def lines(folder: Path) -> dict[str, dict[tuple[str, str, int], dict[str, Any]]]:
    """The same of sides that ran apart: the line of each process, by stage, side and process."""
    known: dict[str, dict[tuple[str, str, int], dict[str, Any]]] = {}
    for block in store.read_blocks(folder):
        for one in block["series"]:
            _, kind, side, stage = [*one["metric"].split("_"), "", "", ""][:4]
            if kind not in ("benchmark", "anchor"):
                continue
            line = known.setdefault(block["case"], {}).setdefault((stage, side, one["process"]), {})
            line |= {"status": "ok", "implementation": block["implementation"], kind: _builds(one)}
    return known


def _builds(series: dict[str, Any]) -> list[list[float]]:
    """The values of a series by their build, which is its lag."""
    builds: dict[int, list[float]] = {}
    for value, build in zip(series["values"], series["lag"], strict=True):
        builds.setdefault(build, []).append(value)
    return list(builds.values())


def _of_block(series: list[dict[str, Any]]) -> Iterator[tuple[tuple[str, int], Timing]]:
    samples: dict[tuple[str, int], dict[str, list[list[float]]]] = {}
    state: dict[tuple[str, int], list[float]] = {}
    for one in series:
        kind, _, rest = one["metric"].partition("_")
        arm, _, stage = rest.partition("_")
        if kind == "conditions":
            state[rest, one["process"]] = list(one["values"])
        elif kind == "seconds" and arm in ARMS:
            samples.setdefault((stage, one["process"]), {})[arm] = _builds(one)
    for key, arms in samples.items():
        if set(arms) == set(ARMS) and len(state.get(key, ())) == len(CONDITIONS):
            yield key, _timing(arms, state[key])


def _timing(arms: dict[str, list[list[float]]], numbers: list[float]) -> Timing:
    values = dict(zip(CONDITIONS, numbers, strict=True))
    known = {name: None if math.isnan(value) else value for name, value in values.items()}
    state = Conditions(
        int(values["cores"]),
        values["load"],
        known["mhz"],
        known["highest_mhz"],
        bool(values["battery"]),
        observe().governor,
        known["quota"],
    )
    return Timing(arms, state, int(values["loops"]))
