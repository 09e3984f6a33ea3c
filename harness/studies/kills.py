"""Runs killed with SIGKILL at random instants, gone on with, and held against what they had (`nox -s kills`).

Two rounds in three kill one run several times. Prints a table and writes it into results/reference/faults.
Exit code 1 where a finished case was lost or measured twice, one is missing at the end, or a worker outlived
its run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import psutil

from .. import store
from ..store import atomic

FOLDER = Path("results/reference/faults")
# cheap cases of both passes; two share a comparison, so that the partner must be there when a run is gone on
# with
PROBE = Path(__file__).with_name("ticks.py")
RUN = ("cells=[elman,gru]", f"probes=[parameters,{PROBE}:Ticks]", "seeds=3")
MOST_KILLS = 4  # of one run
GONE_S = 10.0  # in which the workers of a killed run must be gone


@dataclass(frozen=True)
class Kill:
    """One kill: where the run stood, and what became of its cases when it was gone on with."""

    round: int
    after_s: float  # of the process that was killed
    began: bool  # the run's folder was there
    blocks: int  # lines of cases.jsonl by then
    torn: bool  # the last one was cut off
    finished: int  # cases that were done and ok
    survivors: int  # processes of the run that were still there GONE_S later


@dataclass(frozen=True)
class Round:
    """One run, killed and gone on with to its end."""

    cases: int
    lost: int  # finished before a kill, and not or otherwise there at the end
    twice: int  # finished before a kill, and measured again after it
    missing: int  # asked for, and not ok at the end
    unpaired: int  # cases of a comparison without its ratio
    code: int  # of the last process

    @property
    def holds(self) -> bool:
        return not (self.lost or self.twice or self.missing or self.unpaired or self.code)


def command(*overrides: str) -> list[str]:
    """The command line of `cellbench run` in this Python."""
    return [sys.executable, "-m", "cellbench.harness.cli", "run", *overrides]


def kill_run(arguments: list[str], after_s: float) -> tuple[bool, int]:
    """Starts a run and kills its own process after_s later.

    Returns whether it had not ended by then, and how many of its workers outlived it.
    """
    process = subprocess.Popen(
        arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        process.wait(after_s)
        return False, 0
    except subprocess.TimeoutExpired:
        os.kill(process.pid, signal.SIGKILL)  # it alone: its workers must see to themselves
        process.wait()
        return True, outliving(process.pid)


def outliving(session: int) -> int:
    """Processes of a session that are still there after GONE_S; they are ended."""
    end = time.monotonic() + GONE_S
    while (survivors := list(members(session))) and time.monotonic() < end:
        time.sleep(0.05)
    for process in survivors:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    return len(survivors)


def members(session: int) -> Iterator[psutil.Process]:
    """The living processes of a session; a zombie has ended."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                yield process


def lines(folder: Path) -> tuple[list[bytes], bool]:
    """Whole lines of a run's blocks, and whether one more was cut off."""
    *whole, last = (folder / store.BLOCKS).read_bytes().split(b"\n")
    return whole, bool(last)


def one_round(number: int, parent: Path, kills: int, draw: Callable[[], float]) -> tuple[list[Kill], Round]:
    """A run killed so many times (fewer where it ended before), then gone on with to its end, and checked."""
    kills_done: list[Kill] = []
    states: list[list[bytes]] = []
    for _ in range(kills):
        after_s, folders = draw(), store.visible(parent)
        was_killed, survivors = kill_run(command(*next_arguments(parent, folders)), after_s)
        if not was_killed:
            break
        folders = store.visible(parent)
        whole, torn = lines(folders[0]) if folders else ([], False)
        states.append(whole)
        ended = [json.loads(line) for line in whole]
        finished = sum(block["done"] and block["status"] == "ok" for block in ended)
        kills_done.append(Kill(number, after_s, bool(folders), len(whole), torn, finished, survivors))
    last = subprocess.run(
        command(*next_arguments(parent, store.visible(parent))), capture_output=True, check=False
    )
    return kills_done, judge(parent, states, last.returncode)


def next_arguments(parent: Path, folders: list[Path]) -> list[str]:
    """The arguments of a run that begins, or of one that is gone on with."""
    return [f"resume={folders[0]}"] if folders else [f"results={parent}", *RUN]


def judge(parent: Path, states: list[list[bytes]], code: int) -> Round:
    """Holds the end of a run against the lines that were there at each kill."""
    whole, _ = lines(store.runs(parent)[0])
    end = [json.loads(line) for line in whole]
    lost = twice = 0
    for state in states:
        lost += sum(line != other for line, other in zip(state, whole[: len(state)], strict=True))
        finished = {b["case"] for b in map(json.loads, state) if b["done"] and b["status"] == "ok"}
        twice += len(finished & {block["case"] for block in end[len(state) :]})
    frame = store.load(parent)
    wanted = expected()
    good = frame[(frame["status"] == "ok") & frame["metric"].notna()]
    ratios = good[good["metric"] == "ratio"]
    timed = good[good["probe"] == "Ticks"]["case"].nunique()
    whole_ratios = (ratios.groupby("case")["process"].nunique() == 2).sum()
    return Round(len(wanted), lost, twice, len(wanted - set(good["case"])), int(timed - whole_ratios), code)


def expected() -> set[str]:
    """The cases that RUN asks for."""
    from ..runs.compose import settings

    return {case.id for planned in settings(list(RUN)).probes for case in planned.cases}


def study(kills: int, seed: int, parent: Path) -> tuple[list[Kill], list[Round]]:
    """Rounds until there were so many kills, at instants drawn evenly over the time of an unkilled run."""
    rng, start = np.random.default_rng(seed), time.monotonic()
    subprocess.run(command(f"results={parent / 'whole'}", *RUN), capture_output=True, check=True)
    longest_s = time.monotonic() - start
    done: list[Kill] = []
    rounds: list[Round] = []
    while len(done) < kills:
        most = min(kills - len(done), 1 if len(rounds) % 3 == 2 else MOST_KILLS)
        more, end = one_round(
            len(rounds), parent / f"round{len(rounds)}", most, lambda: float(rng.uniform(0.05, longest_s))
        )
        done += more
        rounds.append(end)
        print(f"{len(done)} of {kills} kills: {'whole' if end.holds else end}", file=sys.stderr, flush=True)
    return done, rounds


def summary(kills: list[Kill], rounds: list[Round]) -> dict[str, int]:
    """The rows of the table."""
    sums = {name: sum(getattr(r, name) for r in rounds) for name in ("lost", "twice", "missing", "unpaired")}
    return {
        "kills": len(kills),
        "runs": len(rounds),
        "before the run began": sum(not k.began for k in kills),
        "with a line cut off": sum(k.torn for k in kills),
        "cases finished at a kill": sum(k.finished for k in kills),
        "of them lost": sums["lost"],
        "of them measured twice": sums["twice"],
        "cases missing at the end": sums["missing"],
        "ratios missing at the end": sums["unpaired"],
        "workers that outlived their run": sum(k.survivors for k in kills),
        "runs that did not end with exit code 0": sum(r.code != 0 for r in rounds),
    }


def write(folder: Path, kills: list[Kill], rounds: list[Round]) -> None:
    """kills.json (every kill and run) and kills.md."""
    folder.mkdir(parents=True, exist_ok=True)
    counts = summary(kills, rounds)
    content = {"summary": counts, "kills": [asdict(k) for k in kills], "runs": [asdict(r) for r in rounds]}
    atomic.write_json(folder / "kills.json", content)
    rows = [f"| {name} | {count} |" for name, count in counts.items()]
    by_run = Counter(k.round for k in kills)
    note = (
        f"A run was killed up to {max(by_run.values(), default=0)} times, each time gone on with by"
        " `cellbench run resume=RUN`."
    )
    text = [
        "# Runs killed at random instants",
        "",
        note,
        "",
        "| | |",
        "|---|---:|",
        *rows,
        "",
        "Made by `nox -s kills`.",
        "",
    ]
    atomic.write_text(folder / "kills.md", "\n".join(text))


def main(arguments: list[str] | None = None) -> int:
    """The exit code: 1 where anything was lost, doubled, missing or left over."""
    parser = argparse.ArgumentParser(
        prog="python -m cellbench.harness.studies.kills", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--kills", type=int, default=200, help="how many (default: 200)")
    parser.add_argument("--seed", type=int, default=0, help="of the instants (default: 0)")
    parser.add_argument(
        "--results", type=Path, default=FOLDER, help=f"folder to write to (default: {FOLDER})"
    )
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="cellbench-kills-") as parent:
        kills, rounds = study(given.kills, given.seed, Path(parent))
    for name, count in summary(kills, rounds).items():
        print(f"{name:42}{count:6}")
    write(given.results, kills, rounds)
    return int(not all(r.holds for r in rounds) or any(k.survivors for k in kills))


if __name__ == "__main__":
    sys.exit(main())
