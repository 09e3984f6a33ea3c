"""How often a verdict on time is wrong, and which slow-downs it finds.

    python -m cellbench.harness.studies.aa --trials 40 [--injected 20] [--output FOLDER]

A program is compared with itself, and with one that does 2, 5 or 10 % more time steps. Each trial is a
comparison of its own, with programs of its own and by the rule that `regress` and `compare` use; several
trials share a process, as the benchmarks of a suite do.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import store
from ..case import Case
from ..measure.judge import Judge, Judgement
from ..measure.pair import Pair
from ..measure.verdict import FLOOR, RELIABILITY, Verdict
from ..regress.two_sides import Side, make
from ..screen import counted
from ..store import atomic, provenance
from .made import made
from .wilson import wilson

STEPS = 100
WORKLOADS = {
    "lstm native": Case("aa", "lstm", "native", "cpu", "float32", 1, STEPS, 8, 32, 128, "forward"),
    "elman numba": Case("aa", "elman", "numba", "cpu", "float32", 1, STEPS, 32, 32, 64, "forward"),
}
INJECTED = (2, 5, 10)  # percent
TOGETHER = 20  # trials that share processes
Z80 = 0.84  # 80 % of a normal variable lie below so many deviations above its mean: power 80 %


@dataclass(frozen=True)
class Trial:
    """One comparison: its workload, the steps added in percent, and the judgement."""

    workload: str
    added: int
    judgement: Judgement


def pair(number: int, workload: str, added: int) -> Pair:
    """A side of STEPS steps, and one with `added` percent more."""
    a = WORKLOADS[workload]
    b = Case(**asdict(a) | {"steps": STEPS * (100 + added) // 100})
    return Pair(f"{number} {workload} +{added} %", make, (Side(a), Side(b)))


def trials(
    count: int,
    injected: int,
    rng: np.random.Generator,
    keep: Callable[[list[Trial]], None] = lambda batch: None,
) -> list[Trial]:
    """`count` trials without a change, workloads in turn, and `injected` of each slow-down, in random order.

    keep is given each batch of trials as soon as it is done.
    """
    names = list(WORKLOADS)
    wanted = [(names[k % len(names)], 0) for k in range(count)]
    wanted += [(names[k % len(names)], added) for added in INJECTED for k in range(injected)]
    order = rng.permutation(len(wanted))
    done: list[Trial] = []
    for start in range(0, len(order), TOGETHER):
        some = order[start : start + TOGETHER]
        judgements = Judge(rng).each([pair(int(k), *wanted[k]) for k in some])
        batch = [Trial(wanted[k][0], wanted[k][1], j) for k, j in zip(some, judgements, strict=True)]
        keep(batch)
        done += batch
        print(f"{len(done)} of {len(wanted)} trials", file=sys.stderr, flush=True)
    return done


def summary(done: list[Trial]) -> dict[str, Any]:
    """Per added percentage: trials, verdicts, and the share called slower, with its interval.

    Without a change, those called faster are wrong as well and count with them.
    """
    rows = []
    for added in (0, *INJECTED):
        some = [t.judgement for t in done if t.added == added]
        if not some:
            continue
        red = {Verdict.SLOWER} if added else {Verdict.SLOWER, Verdict.FASTER}
        called = sum(j.verdict in red for j in some)
        rows.append(
            {
                "added": added / 100,
                "trials": len(some),
                "called": called,
                "share": called / len(some),
                "interval": wilson(called, len(some)),
                "called_at_first": sum(j.first in red for j in some),
                "verdicts": {v.value: sum(j.verdict is v for j in some) for v in Verdict},
                "timed_s": {
                    "median": float(np.median([j.timed_s for j in some])),
                    "most": max(j.timed_s for j in some),
                },
                "effect": quantiles([j.effect.estimate for j in some if j.effect]),
            }
        )
    unchanged = [t.judgement.effect.estimate for t in done if not t.added and t.judgement.effect]
    spread = float(np.std(unchanged))
    return {
        "rows": rows,
        "aa_p95": float(np.quantile(np.abs(unchanged), 0.95)),
        "aa_sd": spread,
        "minimum_detectable": FLOOR + Z80 * spread,
    }


def quantiles(values: list[float]) -> dict[str, float]:
    """The median, and the ends between which 90 % of the values lie."""
    low, middle, high = np.quantile(values, [0.05, 0.5, 0.95]) if values else (np.nan,) * 3
    return {"p5": float(low), "median": float(middle), "p95": float(high)}


def line(result: dict[str, Any]) -> str:
    """The study in a few sentences, for the foot of reports."""
    rows = {row["added"]: row for row in result["rows"]}
    none, powers = rows[0.0], [rows[added / 100] for added in INJECTED if added / 100 in rows]
    low, high = none["interval"]
    machine = result["machine"]
    found = [
        f"{'A slow-down' if row is powers[0] else 'One'} of {100 * row['added']:.0f} % was found in"
        f" {row['called']} of {row['trials']}{' comparisons' if row is powers[0] else ''}. "
        for row in powers
    ]
    return (
        "A verdict on time of cellbench compare or regress can be wrong. "
        f"On {machine['cpu']} with {machine['cores']} cores, {none['trials']} comparisons of a program with "
        f"itself gave {counted(none['called'], 'false alarm')}. "
        f"The 95 % interval of that rate is {100 * low:.1f} to {100 * high:.1f} %. "
        f"{''.join(found)}"
        "In 95 % of the comparisons without a change, the measured change was below "
        f"{100 * result['aa_p95']:.2f} %."
    )


def markdown(result: dict[str, Any]) -> str:
    """The study as a page."""
    head = (
        "| more steps | trials | called | share (95 % interval) | first look | SAME | UNSURE | INVALID |"
        " measured | timed s |"
    )
    rows = []
    for row in result["rows"]:
        low, high = row["interval"]
        kinds, effect, timed = row["verdicts"], row["effect"], row["timed_s"]
        cells = [
            f"+{100 * row['added']:.0f} %",
            row["trials"],
            row["called"],
            f"{100 * row['share']:.1f} % ({100 * low:.1f} to {100 * high:.1f})",
            row["called_at_first"],
            kinds["SAME"],
            kinds["UNSURE"],
            kinds["INVALID"],
            f"{100 * effect['median']:+.2f} % ({100 * effect['p5']:+.2f} .. {100 * effect['p95']:+.2f})",
            f"{timed['median']:.1f}, at most {timed['most']:.1f}",
        ]
        rows.append(f"| {' | '.join(map(str, cells))} |")
    notes = (
        "Called: SLOWER, or in the first row either way, after a repetition. First look: before it. "
        f"Workloads in turn: {', '.join(WORKLOADS)}, {STEPS} steps."
    )
    return "\n".join(
        [
            "# The verdict's own error rates",
            "",
            line(result),
            "",
            head,
            "|" + " --- |" * 10,
            *rows,
            "",
            notes,
            "",
            made("nox -s aa-study"),
            "",
        ]
    )


def main(argv: list[str] | None = None) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m cellbench.harness.studies.aa", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--trials", type=int, default=40, help="comparisons of a program with itself")
    parser.add_argument(
        "--injected", type=int, help="of each slow-down (default: a sixth of the trials, at least 6)"
    )
    parser.add_argument("--seed", type=int, default=None, help="of the order of trials (default: drawn)")
    parser.add_argument(
        "--output", type=Path, default=Path("results/aa"), help="folder to write to (default: results/aa)"
    )
    parser.add_argument("--keep", action="store_true", help="make this the study that reports name")
    given = parser.parse_args(argv)
    if given.trials < 1:
        parser.error(f"--trials is {given.trials}; it must be at least 1")
    injected = max(6, given.trials // 6) if given.injected is None else given.injected
    store.make(given.output)
    start = time.monotonic()
    file = given.output / "trials.jsonl"
    file.unlink(missing_ok=True)
    rng = np.random.default_rng(given.seed)
    done = trials(given.trials, injected, rng, keep=lambda batch: append(file, batch))
    result: dict[str, Any] = {
        "machine": provenance.fingerprint(),
        "versions": provenance.versions(),
        "git": provenance.git(),
        "wall_s": round(time.monotonic() - start),
        **summary(done),
    }
    result["line"] = line(result)
    if given.keep:
        atomic.write_json(RELIABILITY, {"line": result["line"]}, indent=None)
    atomic.write_json(given.output / "study.json", result)
    atomic.write_text(given.output / "study.md", markdown(result))
    print(markdown(result))
    print(f"written: {given.output}")
    return 0


def append(file: Path, batch: list[Trial]) -> None:
    """Adds trials to the file at once: a kill loses at most those in hand."""
    with file.open("a", encoding="utf8") as lines:
        for t in batch:
            row = {"workload": t.workload, "added": t.added, **asdict(t.judgement)}
            lines.write(json.dumps(row, default=str) + "\n")


if __name__ == "__main__":
    sys.exit(main())
