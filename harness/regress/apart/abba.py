"""Two revisions in processes, and environments, of their own: in ABBA order from a random start."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...case import Case
from ...measure.conditions import Conditions, observe, warnings_of
from ...measure.judge import Judgement, corrected
from ...measure.levels import decide, detectable, level
from ...measure.unpaired import welch
from ...measure.verdict import CHANGED, Verdict
from ...measure.worker import PRECISION, THREAD_VARIABLES
from . import alone
from .environments import Environment, NoEnvironment, environment

CANNOT_RUN = (
    "absent",
    "unavailable",
    "unsupported",
)  # a side without this benchmark, as against one that broke
SIDES = ("a", "b")
Found = dict[
    str, Any
]  # a line of alone.py: name, status, reason or benchmark, anchor, implementation, versions
Build = Callable[[Path], Environment]
Keep = Callable[[str, str, str, int, Found], None]


@dataclass
class Seen:
    """Of one benchmark, by side: the level of each process, and what ended it instead."""

    first: dict[str, list[float]] = field(default_factory=lambda: {"a": [], "b": []})
    again: dict[str, list[float]] = field(default_factory=lambda: {"a": [], "b": []})
    trouble: dict[str, Found] = field(default_factory=dict)
    timed_s: float = 0.0

    def decide(self, rng: np.random.Generator):
        return decide(self.first["a"], self.first["b"], rng)


@dataclass
class Apart:
    """Runs the processes of both sides and judges them; `keep` is handed (name, stage, side, process, line)
    at once.
    """

    rng: np.random.Generator
    processes: int = 8  # of either side; twice as many where they cannot tell
    seconds: float = 0.6  # of one benchmark in one process
    builds: int = 5
    threads: int = 1
    timeout_s: float = 300.0  # of one benchmark in one process
    build: Build = environment
    keep: Keep = lambda name, stage, side, process, found: None
    say: Callable[[str], None] = lambda text: None
    conditions: list[Conditions] = field(default_factory=list)  # before each process

    def judge(
        self, cases: dict[str, Case], root_a: Path, root_b: Path
    ) -> tuple[list[Judgement], list[str], list[str]]:
        """(judgements, what B has no longer, notes). Where an environment cannot be made every judgement is
        INVALID.
        """
        roots = {"a": root_a, "b": root_b}
        made: dict[str, Environment] = {}
        for side, root in roots.items():
            self.say(f"environment of {side.upper()}: made, or found in the cache")
            try:
                made[side] = self.build(root)
            except NoEnvironment as error:
                reason = f"no environment for {side.upper()} with its own dependencies"
                invalid = [Judgement(name, Verdict.INVALID, reason, status="unavailable") for name in cases]
                return invalid, [], [f"{reason}: {error}"]
        seen = {name: Seen() for name in cases}
        self.look(seen, cases, roots, made, "first")
        if unsure := {
            n: s for n, s in seen.items() if not s.trouble and s.decide(self.rng)[0] is Verdict.UNSURE
        }:
            self.look(unsure, cases, roots, made, "more")
        changed = {n: s for n, s in seen.items() if not s.trouble and s.decide(self.rng)[0] in CHANGED}
        self.look(changed, cases, roots, made, "again")
        return self.said(seen)

    def look(
        self,
        seen: dict[str, Seen],
        cases: dict[str, Case],
        roots: dict[str, Path],
        made: dict[str, Environment],
        stage,
    ):
        """Processes of both sides in ABBA order; a benchmark that broke on one side is tried once on the
        other.
        """
        start = int(self.rng.integers(2))
        for process in range(self.processes):
            for side in SIDES if (process + start) % 2 else reversed(SIDES):
                names = [
                    n for n, one in seen.items() if not one.trouble or (process == 0 and stage == "first")
                ]
                if not names:
                    continue
                self.say(f"{stage}: process {process + 1} of {self.processes}, side {side.upper()}")
                self.conditions.append(observe())
                order = [names[k] for k in self.rng.permutation(len(names))]
                for found in self.process({n: cases[n] for n in order}, roots[side], made[side]):
                    self.keep(found["name"], stage, side, process, found)
                    take(seen[found["name"]], found, side, stage)

    def process(self, cases: dict[str, Case], root: Path, made: Environment) -> list[Found]:
        """What one process finds of some benchmarks; where it breaks, that one has the blame and a next
        process the rest.
        """
        job = {
            "root": str(root),
            "seconds": self.seconds,
            "builds": self.builds,
            "seed": int(self.rng.integers(2**32)),
        }
        job["cases"] = [asdict(case) | {"name": name} for name, case in cases.items()]
        lines, status, reason = self.run(job, made, self.timeout_s * len(cases))
        found = [json.loads(line) for line in lines]
        left = {name: case for name, case in cases.items() if name not in {f["name"] for f in found}}
        if not left:
            return found
        first = next(iter(left))
        found.append({"name": first, "status": status, "reason": reason})
        return found + (
            self.process({n: c for n, c in left.items() if n != first}, root, made) if len(left) > 1 else []
        )

    def run(self, job: dict[str, Any], made: Environment, timeout_s: float) -> tuple[list[str], str, str]:
        """(whole lines that alone.py printed, and what ended it: a status and a reason)."""
        # -P: the folder of the script, which has a module named selectors, stays out of its path
        command = [str(made.python), "-P", str(Path(alone.__file__))]
        new = dict.fromkeys(THREAD_VARIABLES, str(self.threads)) | PRECISION
        new |= {
            "PYTHONPATH": alone.search_path(job["root"]),
            "CELLBENCH_CACHE": str(made.cache),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        try:
            done = subprocess.run(
                command,
                input=json.dumps(job).encode(),
                env=os.environ | new,
                capture_output=True,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as late:
            return (
                whole(late.stdout or b""),
                "timed_out",
                f"no end after {timeout_s:g} s; case_timeout_s=SECONDS allows more",
            )
        except OSError as error:
            return [], "crashed", f"{made.python} cannot be started: {error.strerror}"
        words = done.stderr.decode(errors="replace").strip().splitlines() or ["without a word"]
        return (
            whole(done.stdout),
            "crashed",
            f"the process ended with exit code {done.returncode}: {words[-1][:300]}",
        )

    def said(self, seen: dict[str, Seen]) -> tuple[list[Judgement], list[str], list[str]]:
        judgements, missing = [], []
        notes = [
            blunt([detectable(one.first["a"], one.first["b"]) for one in seen.values() if not one.trouble])
        ]
        for name, one in seen.items():
            status = {side: found["status"] for side, found in one.trouble.items()}
            absent = {side for side in status if status[side] in CANNOT_RUN}
            if not absent:
                judgements.append(self.judged(name, one))
            elif absent == {"b"}:
                missing.append(f"{name}: runs in the base, but now {one.trouble['b']['reason']}")
            elif absent == {"a"}:
                notes.append(f"{name}: new, no baseline ({one.trouble['a']['reason']})")
            else:
                notes.append(f"{name}: not timed, {one.trouble['b']['reason']}")
        return corrected(judgements), missing, notes

    def judged(self, name: str, one: Seen) -> Judgement:
        for side, found in one.trouble.items():
            reason = f"{found['status']} in {side.upper()}: {found['reason']}"
            return Judgement(name, Verdict.INVALID, reason, status=found["status"], timed_s=one.timed_s)
        verdict, reason, effect = one.decide(self.rng)
        both = {side: one.first[side] + one.again[side] for side in SIDES}
        if verdict in CHANGED:
            repeated, why, _ = decide(one.again["a"], one.again["b"], self.rng)
            pooled, pooled_why, effect = decide(both["a"], both["b"], self.rng)
            if repeated is verdict is pooled:
                reason = f"{pooled_why}; confirmed by a repetition"
            else:
                verdict, reason = Verdict.UNSURE, f"first {reason}; a repetition did not confirm it: {why}"
        said = warnings_of(self.conditions, self.threads, ())
        counts = min(map(len, one.first.values())), min(map(len, one.again.values()))
        return Judgement(
            name, verdict, reason, effect, *counts, welch(both["a"], both["b"]), "ok", one.timed_s, said
        )


def take(one: Seen, found: Found, side: str, stage: str) -> None:
    """Adds what a process found to what was seen."""
    if found["status"] != "ok":
        one.trouble[side] = found
        return
    values = (one.again if stage == "again" else one.first)[side]
    values.append(level(found["benchmark"], found["anchor"]))
    one.timed_s += sum(map(sum, found["benchmark"])) + sum(map(sum, found["anchor"]))


def blunt(least: list[float]) -> str:
    """What such a comparison is worth, with the smallest changes that it could tell."""
    span = " to ".join(f"{100 * v:.0f}" for v in sorted({min(least), max(least)})) if least else ""
    seen = f": here a change of less than {span} % is not told (power 80 %)" if least else ""
    return (
        "each side ran in an environment and in processes of its own, far blunter than both in one"
        f" process{seen}"
    )


def whole(printed: bytes) -> list[str]:
    """The lines that end in a newline."""
    return printed.decode(errors="replace").split("\n")[:-1]
