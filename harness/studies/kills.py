"""Every command that measures or writes, killed at random instants and gone on with (`nox -s kills`).

A signal goes to the command's first process, to its keeper, to the process that works, to a worker, or to
all. Prints a table and writes it into results/reference/faults. Exit code 1 where anything that was finished
was lost or measured again, is missing at the end, or where a process or a temporary file was left.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import psutil

from ..store.scratch import NEW, PREFIX
from ..store.writer import HIDDEN
from .kill_records import Kill, Round, known, summary, write
from .kill_targets import TARGETS, State, Target, prepare

FOLDER = Path("results/reference/faults")
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
VICTIMS = ("command", "work", "keeper", "worker", "all")
GONE_S = 10.0  # in which all processes of a killed command must be gone
LONGEST_S = 300.0  # of a command that goes on after a kill, or is begun again
CHAIN = 16  # kills of one command, one after the other
LEFT = re.compile(rf"\..*\.tmp|{re.escape(NEW)}.*|{PREFIX}\d+-.*|pymp-.*")


Keep = Callable[[Sequence[Round]], object]


@dataclass(frozen=True)
class Study:
    """What all rounds share: folders, the environment, and how long each command takes."""

    parent: Path
    variables: dict[str, str]
    longest_s: dict[str, float]
    seed: int
    usual: dict[str, set[str]] = field(default_factory=dict)  # temporary files that nobody's kill left

    def place(self, name: str) -> Path:
        """A new folder with the files of a round."""
        place = self.parent / re.sub(r"\W+", "-", name)
        (place / "tmp").mkdir(parents=True)
        shutil.copytree(self.parent / "given", place, dirs_exist_ok=True)
        return place

    def start(self, target: Target, words: Sequence[str], place: Path) -> subprocess.Popen[bytes]:
        variables = self.variables | {"TMPDIR": str(place / "tmp"), "CELLBENCH_DATA": str(place / "data")}
        with (place / "said").open("wb") as said:
            return subprocess.Popen(
                [*target.module, *words],
                cwd=place,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )


def one_round(study: Study, target: Target, number: int, kills: int, rng: np.random.Generator) -> Round:
    """A command killed so many times, fewer where it ends before; then run to its end, and checked."""
    place = study.place(f"{target.name} {number}")
    found = Round(target.name, seed=study.seed)
    states: list[State] = []
    words = target.begin(place)
    for _ in range(kills):
        after_s = float(rng.uniform(0.05, study.longest_s[target.name]))
        process = study.start(target, words, place)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(after_s)
            break
        victim, number_ = str(rng.choice(VICTIMS)), SIGNALS[rng.integers(len(SIGNALS))]
        known = kill(process, victim, number_, rng)
        survivors = outliving(process, known)
        states.append(target.finished(place))
        name = signal.Signals(number_).name
        found.kills.append(Kill(target.name, number, after_s, victim, name, len(states[-1]), survivors))
        words = target.again(place)
    last = study.start(target, words, place)
    with contextlib.suppress(subprocess.TimeoutExpired):
        found.code = last.wait(LONGEST_S)
    outliving(last, [])
    judge(found, target, place, states, study.usual[target.name])
    return found


def kill(
    process: subprocess.Popen[bytes], victim: str, number: int, rng: np.random.Generator
) -> list[psutil.Process]:
    """Sends a signal; returns all processes of the command as they were."""
    command = psutil.Process(process.pid)
    known = [command]
    with contextlib.suppress(psutil.Error):
        known += command.children(recursive=True)
    roles = {
        "command": known[:1],
        "keeper": known[1:2],
        "work": known[2:3],
        "worker": known[3:],
        "all": known,
    }
    some = roles[victim] or known[-1:]
    if victim == "worker":
        some = [some[int(rng.integers(len(some)))]]
    for one in some:
        with contextlib.suppress(psutil.Error):
            one.send_signal(number)
    return known


def outliving(process: subprocess.Popen[bytes], known: Iterable[psutil.Process]) -> int:
    """Processes that are still there GONE_S after the command's end; they are ended."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(LONGEST_S)
    end = time.monotonic() + GONE_S
    while (left := [*_session(process.pid), *filter(_is_there, known)]) and time.monotonic() < end:
        time.sleep(0.05)
    for one in left:
        with contextlib.suppress(psutil.Error):
            one.kill()
    process.wait()
    return len(set(left))


def _session(session: int) -> list[psutil.Process]:
    found = []
    for one in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if os.getsid(one.pid) == session and _is_there(one):
                found.append(one)
    return found


def _is_there(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def judge(
    found: Round, target: Target, place: Path, states: Iterable[State], usual: Collection[str] = ()
) -> None:
    """Holds the end against what was finished at each kill, and looks for what was left.

    `usual` are temporary files that the command leaves where nobody kills it: caches of libraries.
    """
    end = target.finished(place)
    for state in states:
        found.lost += sum(name not in end for name in state)
        found.twice += sum(name in end and end[name] != content for name, content in state.items())
    try:
        found.whole = found.code in target.codes and target.whole(place)
    except (OSError, ValueError, KeyError) as error:
        found.said = f"{type(error).__name__}: {error}; "
    files = temporaries(place, usual)
    found.files = len(files)
    if not found.holds:
        found.said += " ".join([last_lines(place), *map(str, files)])
        found.said = found.said.replace(str(place), ".")  # what is committed names no place on a machine
    else:
        shutil.rmtree(place, ignore_errors=True)


def last_lines(place: Path) -> str:
    """The end of what a command has printed."""
    return (place / "said").read_text(errors="replace")[-300:]


def temporaries(place: Path, usual: Collection[str] = ()) -> list[Path]:
    """Files and folders that should have gone with the process that made them, or at the next start."""
    own = [path for path in place.rglob("*") if LEFT.fullmatch(path.name) or HIDDEN.fullmatch(path.name)]
    return [*own, *(p for p in (place / "tmp").iterdir() if p not in own and p.name not in usual)]


def prepared(parent: Path, targets: Sequence[Target], lanes: int, seed: int) -> tuple[Study, list[Target]]:
    """The study, and the targets that end well here where nobody kills them: data need a network."""
    (parent / "given").mkdir()
    prepare(parent / "given")
    variables = {name: value for name, value in os.environ.items() if name != "CELLBENCH_DATA"}
    study = Study(parent, variables, {}, seed)

    def ends_well(target: Target) -> bool:
        place, start = study.place(f"whole {target.name}"), time.monotonic()
        process, code = study.start(target, target.begin(place), place), None
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = process.wait(LONGEST_S)
        process.kill()
        outliving(process, [])
        study.longest_s[target.name] = time.monotonic() - start
        study.usual[target.name] = {path.name for path in (place / "tmp").iterdir()}
        well = code in target.codes and target.whole(place)
        if not well:
            print(f"left out: {target.name}: {last_lines(place)}", file=sys.stderr, flush=True)
        return well

    with ThreadPoolExecutor(lanes) as pool:
        able = list(pool.map(ends_well, targets))
    return study, [target for target, well in zip(targets, able, strict=True) if well]


def kill_all(
    kills: int, parent: Path, lanes: int, targets: Sequence[Target], seed: int, keep: Keep
) -> list[Round]:
    """So many kills over all targets, by their shares, at instants drawn from the seed.

    The rounds so far are handed to keep after each.
    """
    study, able = prepared(parent, targets, lanes, seed)
    total, rounds, lock = sum(target.share for target in able), list[Round](), threading.Lock()

    def some(target: Target, wanted: int, number: int) -> None:
        while wanted > 0:
            rng = np.random.default_rng([seed, TARGETS.index(target), number])
            one = one_round(study, target, number, min(wanted, target.most), rng)
            wanted, number = wanted - max(1, len(one.kills)), number + 1
            with lock:
                rounds.append(one)
                keep(rounds)
                done = sum(len(r.kills) for r in rounds)
                state = "whole" if one.holds else replace(one, kills=[])
                print(f"{done} of {kills} kills: {target.name}: {state}", file=sys.stderr, flush=True)

    with ThreadPoolExecutor(lanes) as pool:
        waiting = []
        for target in able:
            wanted = max(1, round(kills * target.share / total))
            for start in range(0, wanted, CHAIN):  # a round of its own number each
                waiting.append(pool.submit(some, target, min(CHAIN, wanted - start), start))
        for one in waiting:
            one.result()
    return rounds


def main(arguments: list[str] | None = None) -> int:
    """The exit code: 1 where anything was lost, doubled, missing or left over."""
    parser = argparse.ArgumentParser(
        prog="python -m cellbench.harness.studies.kills", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--kills", type=int, default=200, help="how many (default: 200)")
    parser.add_argument("--seed", type=int, help="of the instants (default: a new one, which is printed)")
    parser.add_argument("--lanes", type=int, default=2, help="commands at the same time (default: 2)")
    parser.add_argument("--only", nargs="*", default=[], metavar="COMMAND", help="some of the commands")
    parser.add_argument(
        "--results", type=Path, default=FOLDER, help=f"folder to write to (default: {FOLDER})"
    )
    given = parser.parse_args(arguments)
    seed = int(np.random.default_rng().integers(1 << 31)) if given.seed is None else given.seed
    print(f"seed {seed}", file=sys.stderr, flush=True)
    targets = [target for target in TARGETS if not given.only or target.name in given.only]
    with tempfile.TemporaryDirectory(prefix="kills-of-cellbench-") as parent:
        place = Path(parent).resolve()
        before = known(given.results)
        rounds = kill_all(
            given.kills, place, given.lanes, targets, seed, lambda some: write(given.results, some, before)
        )
    for row in summary(rounds):
        print("  ".join(f"{name} {value}" for name, value in row.items()))
    return int(not (rounds and all(one.holds for one in rounds)))  # nothing killed is nothing shown


if __name__ == "__main__":
    sys.exit(main())
