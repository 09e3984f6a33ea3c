"""The commands that the study `kills` kills: how each is begun, gone on with, and what it has finished."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import store
from ..regress import resumed
from ..regress.history import file as history

State = dict[str, Any]  # what is finished by its name: a content that changes where it is measured again
Words = list[str]
COMPOSING = threading.Lock()  # Hydra composes one configuration at a time
CELLBENCH = (sys.executable, "-m", "cellbench.harness.cli")
PROBE = Path(__file__).with_name("ticks.py")
# cheap cases of both passes; two share a comparison, so that the partner must be there when a run is gone on
# with
RUN = ("cells=[gru]", f"probes=[parameters,{PROBE}:Ticks]", "seeds=3")
SIZES = ("workload.steps=4", "workload.batch=1", "workload.input_size=2", "workload.hidden_size=3")
TINY = (*SIZES, "direction=forward", "results=runs")
CLAIMS = '''
import subprocess, time
from dataclasses import dataclass
from cellbench.harness.claim import HOLDS, Claim, Ruling
from cellbench.harness.report.table import Entry, Table


@dataclass(frozen=True)
class One(Claim):
    """A claim that takes a moment, and leaves a process in a session of its own."""

    place, sentence, how, rule, caption, seconds = 1, "It falls.", "by falling", "always", "A fall.", 0.3

    def measure(self, tick):
        subprocess.Popen(["sleep", "600"], start_new_session=True, env={})
        tick("it")
        time.sleep(0.3)
        return {"at": time.time()}

    def judge(self, numbers):
        return Ruling(HOLDS, "It fell.")

    def table(self, numbers):
        return Table("", ("fall",), ((Entry("5 m"),),))

    def draw(self, numbers):
        from matplotlib.figure import Figure

        return Figure()


@dataclass(frozen=True)
class Two(One):
    place = 2


@dataclass(frozen=True)
class Three(One):
    place = 3
'''
CLAIMED = ("claims.py:One", "claims.py:Two", "claims.py:Three")
PORT = """
import numpy as np


def step(x, h, weight_ih, weight_hh, bias_ih, bias_hh):
    return np.tanh(x @ weight_ih.T + bias_ih + h @ weight_hh.T + bias_hh)
"""


@dataclass(frozen=True)
class Target:
    """A command in a folder of its own, where it is killed `share` of a hundred times, `most` in a row."""

    name: str
    share: int
    begin: Callable[[Path], Words]  # its arguments the first time
    again: Callable[[Path], Words]  # after a kill
    finished: Callable[[Path], State]
    whole: Callable[[Path], bool]  # whether all that was asked for is there at the end
    codes: tuple[int, ...] = (0,)  # that a whole end may have
    most: int = 3
    module: tuple[str, ...] = CELLBENCH


def runs_in(place: Path) -> list[Path]:
    """The visible folders of runs."""
    return store.visible(place / "runs")


def blocks(place: Path) -> list[dict[str, Any]]:
    """The blocks of the newest run; the values as they were written."""
    folders = runs_in(place)
    if not folders:
        return []
    *whole, _ = (folders[-1] / store.BLOCKS).read_bytes().split(b"\n")
    return [json.loads(line) for line in whole]


def _run_again(place: Path) -> Words:
    folders = runs_in(place)
    return ["run", f"resume={folders[-1]}"] if folders else ["run", "results=runs", *RUN]


def _cases(place: Path) -> State:
    found: State = {}
    for block in blocks(place):
        found.setdefault(block["case"], []).append(block)
    return {case: of for case, of in found.items() if of[-1]["done"] and of[-1]["status"] == "ok"}


def _run_is_whole(place: Path) -> bool:
    from ..runs.compose import settings

    with COMPOSING:
        wanted = {case.id for planned in settings(list(RUN)).probes for case in planned.cases}
    frame = store.load(place / "runs")
    ratios = frame[frame.metric == "ratio"].groupby("case").process.nunique()
    timed = frame[frame.probe == "Ticks"].case.nunique()
    return wanted == set(_cases(place)) and (ratios == 2).sum() == timed


def _claims_again(place: Path) -> Words:
    done = _claims(place)
    left = [spec for spec in CLAIMED if spec.rpartition(":")[2] not in done]
    return ["claims", *(left or ["--resume"]), "--output", "out"]


def _claims(place: Path) -> State:
    path = place / "out" / "claims.json"
    record = json.loads(path.read_text()) if path.exists() else {"claims": []}
    return {one["claim"]: one["numbers"] for one in record["claims"]}


def _claims_are_whole(place: Path) -> bool:
    record = json.loads((place / "out" / "claims.json").read_text())
    names = {one["claim"] for one in record["claims"]}
    return names == {"One", "Two", "Three"} and (place / "out" / "index.html").exists()


def _compared_again(command: str, *first: str) -> Callable[[Path], Words]:
    def again(place: Path) -> Words:
        folders = runs_in(place)
        ending = ["--output", "out"]
        return [command, f"resume={folders[-1]}", *ending] if folders else [command, *first, *TINY, *ending]

    return again


def _timings(place: Path) -> State:
    folders = runs_in(place)
    if not folders:
        return {}
    known = resumed.timings(folders[-1])
    return {f"{case} {key}": timing.samples for case, of in known.items() for key, timing in of.items()}


def _outcome_is_whole(place: Path) -> bool:
    ended = {block["case"] for block in blocks(place) if block["done"]}
    outcome = json.loads((place / "out" / "regress.json").read_text())
    return len(ended) == len(outcome["benchmarks"]) > 0 and (place / "out" / "junit.xml").exists()


def _imported(place: Path) -> State:
    return {run.name: len(list(store.read_blocks(run))) for run in runs_in(place)}


def _imports_are_whole(place: Path) -> bool:
    counts = _imported(place).values()
    return set(counts) == {40} and all((run / store.TABLE).exists() for run in runs_in(place))


def _points(place: Path) -> State:
    path = place / "history.jsonl"
    *whole, _ = path.read_bytes().split(b"\n") if path.exists() else [b""]
    return {f"{one['run']} {one['benchmark']}": one for one in map(json.loads, whole)}


def _history_is_whole(place: Path) -> bool:
    points = history.read(place / "history.jsonl")
    return len(points) == len(_points(place)) == 12 and (place / "page" / "index.html").exists()


def _page_is_whole(place: Path) -> bool:
    texts = [(place / "page" / name).read_text() for name in ("index.html", "report.md")]
    return texts[0].rstrip().endswith("</html>") and len(texts[1]) > 0


def _same(*words: str) -> Callable[[Path], Words]:
    return lambda place: [*words]


def _nothing(place: Path) -> State:
    return {}


def _archives(place: Path) -> State:
    return {path.name: path.stat().st_size for path in (place / "data").glob("data/*.archive")}


HISTORY = ("history", "old", "--file", "history.jsonl", "--output", "page")
COMPARE, REGRESS = ("numba:torch", "cells=[gru]"), ("base=HEAD", "cells=[gru]", "backends=[numpy]")
FETCH = ("data", "fetch", "mnist1d")
TARGETS = (
    Target("run", 40, _run_again, _run_again, _cases, _run_is_whole, most=4),
    Target("claims", 14, _claims_again, _claims_again, _claims, _claims_are_whole),
    Target("import", 10, _same("import", "bench.json", "--results", "runs"),
           _same("import", "bench.json", "--results", "runs"), _imported, _imports_are_whole),
    Target("history", 10, _same(*HISTORY), _same(*HISTORY), _points, _history_is_whole),
    Target("report", 7, _same("report", "old", "--output", "page"),
           _same("report", "old", "--output", "page"), _nothing, _page_is_whole),
    Target("compare A:B", 6, _compared_again("compare", *COMPARE), _compared_again("compare", *COMPARE),
           _timings, _outcome_is_whole, (0, 1, 3), most=4),
    Target("regress", 3, _compared_again("regress", *REGRESS), _compared_again("regress", *REGRESS),
           _timings, _outcome_is_whole, (0, 1, 3), most=3),
    Target("compare RUN RUN", 3, _same("compare", "old/a", "old/b", "--json", "out.json"),
           _same("compare", "old/a", "old/b", "--json", "out.json"), _nothing,
           lambda place: "headline" in json.loads((place / "out.json").read_text()), (0, 1, 3)),
    Target("check", 3, _same("check", "port.py:step", "--against", "elman"),
           _same("check", "port.py:step", "--against", "elman"), _nothing, lambda place: True),
    Target("data fetch", 2, _same(*FETCH), _same(*FETCH), _archives, lambda place: bool(_archives(place))),
    Target("baselines", 2, _same("--folder", "lines", "gru"), _same("--folder", "lines", "gru"), _nothing,
           lambda place: (place / "lines" / "gru.json").exists(),
           module=(sys.executable, "-m", "cellbench.harness.regress.baselines")),
)  # fmt: skip


def prepare(place: Path) -> None:
    """The folder's files: runs to compare, a file to import, claims and a port."""
    (place / "claims.py").write_text(CLAIMS)
    (place / "port.py").write_text(PORT)
    content = [_benchmark(n) for n in range(40)]
    (place / "bench.json").write_text(json.dumps({"benchmarks": content, "machine_info": {"node": "x"}}))
    for name in "ab":
        writer = store.create(
            place / "new",
            {
                "command": "cellbench run",
                "config": {"cells": ["gru"], "threads": 1},
                "machine_key": {"cpu": "x"},
            },
        )
        for cell in ("elman", "lstm", "gru"):
            for direction in ("forward", "backward"):
                for backend in ("native", "numba"):
                    _stored(writer, cell, backend, direction)
        writer.close()
        (place / "old").mkdir(exist_ok=True)
        writer.folder.rename(place / "old" / name)
    (place / "new").rmdir()


def _benchmark(number: int) -> dict[str, Any]:
    stats = {"data": [1e-3 * (1 + 0.01 * k) for k in range(5)]}
    return {"fullname": f"test_{number}", "extra_info": {}, "stats": stats}


def _stored(writer: store.RunWriter, cell: str, backend: str, direction: str) -> None:
    definition: State = {"probe": "throughput", "cell": cell, "backend": backend, "direction": direction}
    definition |= {"device": "cpu", "dtype": "float32", "threads": 1, "steps": 64, "batch": 16}
    definition |= {"input_size": 32, "hidden_size": 64}
    series = [
        {"metric": metric, "unit": unit, "values": [2e-3 if unit == "s" else 1.0], "process": process}
        for process in range(3)
        for metric, unit in (("seconds", "s"), ("ratio_to_native", "1"))
    ]
    case = f"{cell} {backend} {direction}"
    writer.append(case, definition, "ok", series=series, implementation=f"{backend} 1", done=True)
