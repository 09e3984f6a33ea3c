"""`cellbench compare RUN RUN` of two imported runs: their times side by side, group by group.

Both runs were timed at other moments, in other processes. Such times drift by a third between processes that
run the same program, so that no verdict is given.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from ..measure.judge import Judgement
from ..measure.verdict import Verdict
from ..store import provenance
from ..store.imported import PROBE, SECONDS, SILENT, is_imported
from .benchmarks import Comparison
from .stored_run import StoredCase, StoredRun
from .usable import left_out, strange, usable

NOT_JUDGED = (
    "No difference is judged: the runs were timed one after the other, and such times can differ by a third"
    " though no code changed. The pytest fixture `cellbench` times two versions side by side, and judges."
)
AGAIN = "import the file again, made with machine_info"
UNKNOWN = "Files of {} do not name their machine: compare only runs of the same one."


def imported_sides(a: StoredRun, b: StoredRun) -> int:
    """How many of the two runs were imported."""
    return sum(is_imported(run.manifest) for run in (a, b))


def compared(a: StoredRun, b: StoredRun) -> Comparison:
    """The comparison of two imported runs; without a judgement where they are of two machines."""
    sides = str(a), str(b)
    if why := other_machine(a, b):
        return Comparison("imported runs", *sides, (), notes=(f"no baseline: {why}",))
    old, new = a.of(PROBE), b.of(PROBE)
    both = [name for name in old if name in new and times(old[name]) and times(new[name])]
    return Comparison(
        "imported runs",
        *sides,
        tuple(judge(name, old[name], new[name]) for name in both),
        missing=tuple(f"{name}: in A, not in B" for name in old if name not in new),
        notes=(
            *(f"{name}: new in B, not judged" for name in new if name not in old),
            *notes((a, b)),
        ),
    )


def other_machine(a: StoredRun, b: StoredRun) -> str | None:
    """The reason why the times of two imported runs are not compared, or None."""
    if is_silent(a) and is_silent(b):
        return None  # the person who timed them knows the machine; a note asks
    keys = [run.manifest.get("machine_key") or {} for run in (a, b)]
    for run, key in zip((a, b), keys, strict=True):
        if not key:
            instead = f"files of {SILENT} never do" if is_silent(run) else AGAIN
            return f"run {run} does not say its machine; {instead}"
    differs = provenance.differences(*keys)
    return f"another machine, {'; '.join(differs)}" if differs else None


def is_silent(run: StoredRun) -> bool:
    """Whether a run comes from the tool whose files name no machine."""
    return SILENT in (run.manifest.get("versions") or {})


def notes(runs: Sequence[StoredRun]) -> list[str]:
    """The lines below the times of imported runs."""
    odd = [
        value
        for run in runs
        for case in run.of(PROBE).values()
        for value in strange(_series(case), run.manifest["run"], _possible)
    ]
    silent = [UNKNOWN.format(SILENT)] if any(map(is_silent, runs)) else []
    said = [
        f"{name} in {run}: {case.reason}"
        for run in runs
        for name, case in run.of(PROBE).items()
        if case.ok and case.reason
    ]
    return [*said, *silent, *left_out(odd), NOT_JUDGED]


def judge(name: str, old: StoredCase, new: StoredCase) -> Judgement:
    """The two medians and their ratio, as one that cannot tell; both have a time."""
    a, b = statistics.median(times(old)), statistics.median(times(new))
    timed_s = sum(
        sum(_possible(s["values"])) for case in (old, new) for s in case.series if s["metric"] == "seconds"
    )
    if not (a > 0 and b > 0):
        return Judgement(name, Verdict.INVALID, "a time was measured that is 0", timed_s=timed_s)
    change = f"{a:.4g} s, then {b:.4g} s: {100 * (b / a - 1):+.1f} %, not judged"
    processes = min(len({s["process"] for s in case.series}) for case in (old, new))
    return Judgement(name, Verdict.UNSURE, change, processes=processes, timed_s=timed_s)


def median(case: StoredCase) -> float | None:
    """The median over rounds; None of a benchmark that has none."""
    return statistics.median(times(case)) if times(case) else None


def times(case: StoredCase) -> list[float]:
    """The seconds of each round, or the median alone where the file has no rounds."""
    return [v for one in _series(case) for v in _possible(one["values"])]


def _series(case: StoredCase) -> list[dict[str, Any]]:
    return [one for one in case.series if one["metric"] in SECONDS]


def _possible(values: Iterable[float]) -> list[float]:
    """Those that a clock can say: a short time may be 0."""
    return [v for v in values if v == 0 or usable([v])]
