"""A stored run as `compare` reads it: found by name, refused where it is not whole, its cases by name."""

from __future__ import annotations

import shlex
import statistics
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cellbench.cells.find import given_path

from .. import store
from ..store.imported import is_imported
from .benchmarks import name_of
from .usable import usable

PARTNER = "native"  # not our code: what every process of a throughput run times beside the rest


@dataclass(frozen=True)
class StoredCase:
    """A case of a run: how it ended, and the series of its last attempt."""

    id: str
    definition: dict[str, Any]
    status: str
    reason: str | None
    implementation: str | None
    series: tuple[dict[str, Any], ...]

    @property
    def probe(self) -> str:
        return self.definition["probe"]

    @property
    def ok(self) -> bool:
        return self.status == "ok"

    def by_process(self, metric: str) -> dict[int, float]:
        """The median of a metric in each process that has it: of seconds, or of a ratio of them."""
        found = {
            s["process"]: usable(s["values"])
            for s in self.series
            if s["metric"] == metric and s.get("process") is not None
        }
        return {process: statistics.median(values) for process, values in found.items() if values}


@dataclass(frozen=True)
class StoredRun:
    """A run that has ended, and its cases by name."""

    folder: Path
    manifest: dict[str, Any]
    cases: dict[str, StoredCase]

    def __str__(self) -> str:
        git = self.manifest.get("git") or {}
        commit = (
            f", commit {git['commit'][:12]}{' and changes' if git.get('dirty') else ''}"
            if git.get("commit")
            else ""
        )
        return f"{self.manifest['run']}{commit}"

    def of(self, probe: str) -> dict[str, StoredCase]:
        return {name: case for name, case in self.cases.items() if case.probe == probe}


def find(name: str, results: Path) -> Path:
    """The folder of a run, a path or a name below results. Raises ResultsError with the nearest name."""
    for folder in (given_path(name), results / name):
        if store.is_run(folder):
            return folder
    here = given_path(name)
    if here.is_dir() and _names(here):
        raise store.ResultsError(f"{name!r} is a folder of runs; give one of them: {_some(here)}")
    import difflib

    near = difflib.get_close_matches(name, _names(results), 1, 0.4)
    raise store.ResultsError(
        f"no run {name!r}{f'; did you mean {near[0]!r}?' if near else ';'} "
        f"give a run's folder, or the name of one below {results}: {_some(results)}"
    )


def read(folder: Path) -> StoredRun:
    """The run in a folder. Raises ResultsError unless `run` or `import` made it and it is whole."""
    manifest = store.read_manifest(folder)
    if not manifest.get("config") and not is_imported(manifest):
        made = manifest.get("command") or "import"
        raise store.ResultsError(
            f"run {folder} was imported or made otherwise ({made}); compare takes what `cellbench run` made,"
            " or `cellbench import`"
        )
    if not store.exists(folder / store.TABLE):
        raise _unfinished(folder)
    if not store.exists(folder / store.BLOCKS):
        raise store.ResultsError(f"{folder} has no {store.BLOCKS}, which compare reads; measure it again")
    blocks = list(store.read_blocks(folder))
    last = {block["case"]: block for block in blocks}
    if not all(block["done"] for block in last.values()):
        raise _unfinished(folder)
    series: dict[str, list[dict[str, Any]]] = {case: [] for case in last}
    for block in blocks:
        if block["attempt"] == last[block["case"]]["attempt"]:
            series[block["case"]] += block["series"]
    cases = [_stored(block, series[case]) for case, block in last.items()]
    times = Counter(name_of(case.definition) for case in cases)
    return StoredRun(folder, manifest, {_unique(case, times): case for case in cases})


def _stored(block: dict[str, Any], series: list[dict[str, Any]]) -> StoredCase:
    fields = ("status", "reason", "implementation")
    return StoredCase(
        block["case"], block["definition"], **{key: block[key] for key in fields}, series=tuple(series)
    )


def _unique(case: StoredCase, times: Counter[str]) -> str:
    """The name, with the case's id where two of the run are called alike: cells of one name in two files."""
    name = name_of(case.definition)
    return name if times[name] == 1 else f"{name} [{case.id}]"


def _unfinished(folder: Path) -> store.ResultsError:
    return store.ResultsError(
        f"run {folder} has not ended; go on with it first: cellbench run resume={shlex.quote(str(folder))}"
    )


def _names(folder: Path) -> list[str]:
    return [path.name for path in store.visible(folder) if store.is_run(path)]


def _some(folder: Path) -> str:
    """The newest names of a folder of runs."""
    names = _names(folder)
    return ", ".join([*(["..."] if len(names) > 4 else []), *names[-4:]]) or "(it holds none)"
