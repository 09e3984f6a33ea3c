"""`cellbench compare RUN RUN` of two imported runs: their times side by side, group by group.

They have nothing that both runs timed inside the same processes. Such times drift by a third between
processes that run the same program, so that no verdict is given.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from ..measure.judge import Judgement
from ..measure.verdict import Verdict
from ..store import provenance
from ..store.imported import PROBE, SECONDS, SILENT, is_imported
from .benchmarks import Comparison
from .stored_run import StoredCase, StoredRun

DRIFT = (
    "imported times share no process and no partner: they may differ by a third with nothing changed, so that"
    " a difference is shown and not judged; `cellbench regress` and the pytest fixture judge"
)
UNKNOWN = "files of {} name no machine: nothing says that both runs are of one"


def imported_sides(a: StoredRun, b: StoredRun) -> int:
    """How many of the two runs were imported."""
    return sum(is_imported(run.manifest) for run in (a, b))


def compared(a: StoredRun, b: StoredRun) -> Comparison:
    """The comparison of two imported runs; without a judgement where they are of two machines."""
    sides = str(a), str(b)
    keys = [run.manifest.get("machine_key") or {} for run in (a, b)]
    silent_tool = all(SILENT in (run.manifest.get("versions") or {}) for run in (a, b))
    if not all(keys) and not silent_tool:
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
        tuple(
            judge(name, old[name], new[name]) for name in old if name in new and _both(old[name], new[name])
        ),
        missing=tuple(f"{name}: in A, not in B" for name in old if name not in new),
        notes=(
            *(f"{name}: new in B, not judged" for name in new if name not in old),
            *([UNKNOWN.format(SILENT)] if silent_tool else []),
            DRIFT,
        ),
    )


def side_by_side(runs: Sequence[StoredRun]) -> tuple[list[str], list[list[str]]]:
    """(header, rows) of any number of imported runs: the time of each, and its ratio to the first run's."""
    from ..report.units import quantity  # pandas comes with it, which judging two runs does not need

    times = [{name: _time(case) for name, case in run.of(PROBE).items()} for run in runs]
    header = ["benchmark", str(runs[0]), *(word for run in runs[1:] for word in (str(run), "ratio"))]
    rows = []
    for name in dict.fromkeys(name for one in times for name in one):
        first, row = times[0].get(name), [name]
        for number, one in enumerate(times):
            value = one.get(name)
            row.append("-" if value is None else quantity(value, "s"))
            if number:
                row.append(f"{value / first:.3g}" if value is not None and first else "-")
        rows.append(row)
    return header, rows


def _both(a: StoredCase, b: StoredCase) -> bool:
    return _time(a) is not None and _time(b) is not None


def _time(case: StoredCase) -> float | None:
    """The median over rounds; None of a benchmark that has none."""
    return seconds(case) if any(s["metric"] in SECONDS for s in case.series) else None


def judge(name: str, old: StoredCase, new: StoredCase) -> Judgement:
    """The two medians and their ratio, as one that cannot tell."""
    a, b = seconds(old), seconds(new)
    timed_s = sum(sum(s["values"]) for case in (old, new) for s in case.series if s["metric"] == "seconds")
    if not (a > 0 and b > 0):
        return Judgement(name, Verdict.INVALID, "a time was measured that is 0", timed_s=timed_s)
    change = f"{a:.4g} s, then {b:.4g} s: {100 * (b / a - 1):+.1f} %, not judged"
    processes = min(len({s["process"] for s in case.series}) for case in (old, new))
    return Judgement(name, Verdict.UNSURE, change, processes=processes, timed_s=timed_s)


def seconds(case: StoredCase) -> float:
    """The median over rounds."""
    return statistics.median(v for s in case.series if s["metric"] in SECONDS for v in s["values"])
