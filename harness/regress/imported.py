"""`cellbench compare RUN RUN` of two imported runs: their times side by side, group by group.

A file of pytest-benchmark has one process, and nothing that both runs timed inside it. Such times drift by a
third between processes that run the same program, so that no verdict is given.
"""

from __future__ import annotations

import statistics

from ..measure.judge import Judgement
from ..measure.verdict import Verdict
from ..store import provenance
from ..store.imported import PROBE, SECONDS, is_imported
from .benchmarks import Comparison
from .stored_run import StoredCase, StoredRun

DRIFT = (
    "imported times are of one process each, and share no partner: they may differ by a third with nothing"
    " changed, so that a difference is shown and not judged; `cellbench regress` and the pytest fixture judge"
)


def imported_sides(a: StoredRun, b: StoredRun) -> int:
    """How many of the two runs were imported."""
    return sum(is_imported(run.manifest) for run in (a, b))


def compared(a: StoredRun, b: StoredRun) -> Comparison:
    """The comparison of two imported runs; without a judgement where they are of two machines."""
    sides = str(a), str(b)
    keys = [run.manifest.get("machine_key") or {} for run in (a, b)]
    if not all(keys):
        silent = next(run for run, key in zip((a, b), keys, strict=True) if not key)
        why = f"run {silent} does not say its machine; import the file again, made with machine_info"
        return Comparison("imported runs", *sides, (), notes=(f"no baseline: {why}",))
    if differs := provenance.differences(*keys):
        why = f"no baseline: another machine, {'; '.join(differs)}"
        return Comparison("imported runs", *sides, (), notes=(why,))
    old, new = a.of(PROBE), b.of(PROBE)
    return Comparison(
        "imported runs",
        *sides,
        tuple(judge(name, old[name], new[name]) for name in old if name in new),
        missing=tuple(f"{name}: in A, not in B" for name in old if name not in new),
        notes=(*(f"{name}: new in B, not judged" for name in new if name not in old), DRIFT),
    )


def judge(name: str, old: StoredCase, new: StoredCase) -> Judgement:
    """The two medians and their ratio, as one that cannot tell."""
    a, b = seconds(old), seconds(new)
    timed_s = sum(sum(s["values"]) for case in (old, new) for s in case.series if s["metric"] == "seconds")
    if not (a > 0 and b > 0):
        return Judgement(name, Verdict.INVALID, "a time was measured that is 0", timed_s=timed_s)
    change = f"{a:.4g} s, then {b:.4g} s: {100 * (b / a - 1):+.1f} %, of one process each, not judged"
    return Judgement(name, Verdict.UNSURE, change, processes=1, timed_s=timed_s)


def seconds(case: StoredCase) -> float:
    """The median over rounds."""
    return statistics.median(v for s in case.series if s["metric"] in SECONDS for v in s["values"])
