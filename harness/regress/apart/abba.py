"""Two revisions in processes, and environments, of their own: in ABBA order from a random start."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...case import Case
from ...measure import worker
from ...measure.conditions import Conditions, observe, warnings_of
from ...measure.judge import Judgement, corrected
from ...measure.verdict import CHANGED, Verdict
from . import alone
from .environments import Environment, NoEnvironment, environment
from .side_levels import AGAIN, CANNOT_RUN, SIDES, Measured, SideLevels, blunt

FIRST, MORE = "first", "more"
Build = Callable[[Path], Environment]
Keep = Callable[[str, str, str, int, Measured], None]
Judged = tuple[list[Judgement], list[str], list[str]]  # judgements, missing in B, notes


@dataclass(frozen=True)
class Revision:
    """The folder of a revision, and the environment with its dependencies."""

    root: Path
    environment: Environment


@dataclass
class Apart:
    """Runs the processes of both sides and judges them.

    Each line of each process is handed to keep(name, stage, side, process, line) at once. `known` has the
    lines that an interrupted judge had, by benchmark and by stage, side and process. changed() names the code
    that is no longer what the comparison began with: what a process timed that has ended after it is a
    failure.
    """

    rng: np.random.Generator
    processes: int = 8  # of either side; twice as many where they cannot tell
    seconds: float = 0.6  # of one benchmark in one process
    builds: int = 5
    threads: int = 1
    timeout_s: float = 300.0  # of one benchmark in one process
    build: Build = environment
    keep: Keep = lambda name, stage, side, process, line: None
    say: Callable[[str], None] = lambda text: None
    known: Mapping[str, Mapping[tuple[str, str, int], Measured]] = field(default_factory=dict)
    changed: Callable[[], Collection[str]] = tuple
    conditions: list[Conditions] = field(default_factory=list)  # before each process

    def judge(self, cases: dict[str, Case], root_a: Path, root_b: Path) -> Judged:
        """Where an environment cannot be made, every judgement is INVALID."""
        revisions: dict[str, Revision] = {}
        for side, root in zip(SIDES, (root_a, root_b), strict=True):
            self.say(f"environment of {side.upper()}: made, or found in the cache")
            try:
                revisions[side] = Revision(root, self.build(root))
            except NoEnvironment as error:
                reason = f"no environment for {side.upper()} with its own dependencies"
                invalid = [Judgement(name, Verdict.INVALID, reason, status="unavailable") for name in cases]
                return invalid, [], [f"{reason}: {error}"]
        levels = {name: SideLevels() for name in cases}
        self.look(levels, cases, revisions, FIRST)
        if unsure := self.called(levels, Verdict.UNSURE):
            self.look(unsure, cases, revisions, MORE)
        self.look(self.called(levels, *CHANGED), cases, revisions, AGAIN)
        return self.judged(levels)

    def called(self, levels: dict[str, SideLevels], *verdicts: Verdict) -> dict[str, SideLevels]:
        """The benchmarks that the first look calls so."""
        timed = {name: one for name, one in levels.items() if not one.trouble}
        return {name: one for name, one in timed.items() if one.decide(self.rng)[0] in verdicts}

    def look(
        self,
        levels: dict[str, SideLevels],
        cases: dict[str, Case],
        revisions: dict[str, Revision],
        stage: str,
    ) -> None:
        """Processes of both sides in ABBA order: a drift of the machine falls on both alike.

        A benchmark that broke on one side is tried once on the other, to tell what is new from what broke.
        """
        start = int(self.rng.integers(2))
        for process in range(self.processes):
            first = process == 0 and stage == FIRST
            for side in SIDES if (process + start) % 2 else reversed(SIDES):
                names = [name for name, one in levels.items() if first or not one.trouble]
                if not names:
                    continue
                self.say(f"{stage}: process {process + 1} of {self.processes}, side {side.upper()}")
                self.conditions.append(observe())
                order = [names[k] for k in self.rng.permutation(len(names))]
                at = (stage, side, process)
                known = [
                    {**self.known[name][at], "name": name} for name in order if at in self.known.get(name, {})
                ]
                left = {name: cases[name] for name in order if at not in self.known.get(name, {})}
                for line in known + (self.process(left, revisions[side]) if left else []):
                    self.keep(line["name"], stage, side, process, line)
                    levels[line["name"]].add(line, side, stage)

    def process(self, cases: dict[str, Case], revision: Revision) -> list[Measured]:
        """The lines of one process; a benchmark that ends it has the blame, and another process the rest."""
        job = {
            "root": str(revision.root),
            "seconds": self.seconds,
            "builds": self.builds,
            "seed": int(self.rng.integers(2**32)),
            "cases": [asdict(case) | {"name": name} for name, case in cases.items()],
        }
        texts, status, reason = self.run(job, revision.environment, self.timeout_s * len(cases))
        lines = [json.loads(text) for text in texts]
        if names := self.changed():
            reason = f"{', '.join(names)} changed after the comparison began; compare anew"
            lines = [{"name": line["name"], "status": "failed", "reason": reason} for line in lines]
        done = {line["name"] for line in lines}
        missing = [name for name in cases if name not in done]
        if not missing:
            return lines
        lines.append({"name": missing[0], "status": status, "reason": reason})
        rest = {name: cases[name] for name in missing[1:]}
        return lines + (self.process(rest, revision) if rest else [])

    def run(
        self, job: dict[str, Any], environment: Environment, timeout_s: float
    ) -> tuple[list[str], str, str]:
        """(complete lines that alone.py printed, and how the process ended: a status and a reason)."""
        # -P: the folder of the script stays out of its path, so that no file beside it hides a library
        command = [str(environment.python), "-P", str(Path(alone.__file__))]
        variables = worker.limits(self.threads) | {
            "PYTHONPATH": alone.search_path(job["root"]),
            "CELLBENCH_CACHE": str(environment.cache),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        try:
            done = worker.run(command, json.dumps(job).encode(), variables, timeout_s)
        except OSError as error:
            return [], "crashed", f"{environment.python} cannot be started: {error.strerror}"
        if done.returncode is None:
            reason = f"no end after {timeout_s:g} s; case_timeout_s=SECONDS allows more"
            return complete_lines(done.stdout), "timed_out", reason
        words = done.stderr.decode(errors="replace").strip().splitlines() or ["without a word"]
        reason = f"the process ended with exit code {done.returncode}: {words[-1][:300]}"
        return complete_lines(done.stdout), "crashed", reason

    def judged(self, levels: dict[str, SideLevels]) -> Judged:
        judgements, missing = [], []
        notes = [blunt([one.detectable for one in levels.values() if not one.trouble])]
        warnings = warnings_of(self.conditions, self.threads, ())
        for name, one in levels.items():
            absent = {side for side, line in one.trouble.items() if line["status"] in CANNOT_RUN}
            if not absent:
                judgements.append(one.judgement(name, self.rng, warnings))
            elif absent == {"b"}:
                missing.append(f"{name}: runs in the base, but now {one.trouble['b']['reason']}")
            elif absent == {"a"}:
                notes.append(f"{name}: new, no baseline ({one.trouble['a']['reason']})")
            else:
                notes.append(f"{name}: not timed, {one.trouble['b']['reason']}")
        return corrected(judgements), missing, notes


def complete_lines(printed: bytes) -> list[str]:
    """The lines that end in a newline: a process that is killed may leave half of one."""
    return printed.decode(errors="replace").split("\n")[:-1]
