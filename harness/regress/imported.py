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
UNKNOWN = "Files of {} do not name their machine: compare only runs of the same one."


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
    both = [name for name in old if name in new and times(old[name]) and times(new[name])]
    return Comparison(
        "imported runs",
        *sides,
        tuple(judge(name, old[name], new[name]) for name in both),
        missing=tuple(f"{name}: in A, not in B" for name in old if name not in new),
        notes=(
            *(f"{name}: new in B, not judged" for name in new if name not in old),
            *([UNKNOWN.format(SILENT)] if silent_tool else []),
            *notes((a, b)),
        ),
    )


def table(a: StoredRun, b: StoredRun) -> tuple[list[str], list[list[str]]]:
    """(header, rows) of two imported runs, as the text of their comparison shows them."""
    header, rows = side_by_side((a, b))
    return [header[0], "A", "B", header[-1]], rows


def side_by_side(runs: Sequence[StoredRun]) -> tuple[list[str], list[list[str]]]:
    """(header, rows) of any number of imported runs: the time of each, and its ratio to the first run's."""
    from ..report.units import quantity  # pandas comes with it, which judging two runs does not need

    medians = [{name: median(case) for name, case in run.of(PROBE).items()} for run in runs]
    header = ["benchmark", str(runs[0]), *(word for run in runs[1:] for word in (str(run), "ratio"))]
    rows = []
    for name in dict.fromkeys(name for one in medians for name in one):
        first, row = medians[0].get(name), [name]
        for number, one in enumerate(medians):
            value = one.get(name)
            row.append("-" if value is None else quantity(value, "s"))
            if number:
                row.append(f"{value / first:.3g}" if value is not None and first else "-")
        rows.append(row)
    return header, rows


def notes(runs: Sequence[StoredRun]) -> list[str]:
    """The lines below the times of imported runs."""
    odd = [
        value
        for run in runs
        for case in run.of(PROBE).values()
        for value in strange(_series(case), run.manifest["run"], _possible)
    ]
    return [*left_out(odd), NOT_JUDGED]


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
