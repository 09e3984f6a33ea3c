"""The times of imported runs side by side: a column for each run, and its ratio to the first one.

A run of another machine than the first has its times alone, and a line that says in what the machines differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..store.atomic import as_json
from ..store.imported import PROBE
from .imported import median, notes, other_machine
from .stored_run import StoredRun

SCHEMA = 1


@dataclass(frozen=True)
class Times:
    """Median seconds of each benchmark, a value a run, None where it has none; and why a run has no ratio."""

    runs: Sequence[str]
    alone: Sequence[str | None]
    medians: dict[str, list[float | None]]
    notes: Sequence[str]

    @property
    def exit_code(self) -> int:
        """3 where a run has no ratio, as of two runs of different machines; else 0."""
        return 3 if any(self.alone) else 0

    def ratios(self, benchmark: str) -> list[float | None]:
        """The time of each run over the first one's; None where there is none."""
        first, *_ = times = self.medians[benchmark]
        return [
            value / first if first and value is not None and not why else None
            for value, why in zip(times, self.alone, strict=True)
        ]


def side_by_side(runs: Sequence[StoredRun]) -> Times:
    """The times of the runs, each held against the first one."""
    alone = [None, *(other_machine(runs[0], run) for run in runs[1:])]
    of_run = [{name: median(case) for name, case in run.of(PROBE).items()} for run in runs]
    medians = {name: [one.get(name) for one in of_run] for one in of_run for name in one}
    reasons = [f"no ratio of {run}: {why}" for run, why in zip(runs, alone, strict=True) if why]
    return Times([str(run) for run in runs], alone, medians, [*reasons, *notes(runs)])


def record(times: Times) -> str:
    """The JSON: schema, title, exit_code, runs, benchmarks, notes.

    A run has name and no_ratio, the reason or null. A benchmark has name, median_s and ratio: lists with an
    entry a run, null where there is none.
    """
    content = {
        "schema": SCHEMA,
        "title": "imported runs side by side",
        "exit_code": times.exit_code,
        "runs": [{"name": name, "no_ratio": why} for name, why in zip(times.runs, times.alone, strict=True)],
        "benchmarks": [
            {"name": name, "median_s": values, "ratio": times.ratios(name)}
            for name, values in times.medians.items()
        ],
        "notes": list(times.notes),
    }
    return as_json(content, indent=2)


def table(times: Times) -> tuple[list[str], list[list[str]]]:
    """(header, rows); the first run has no column of ratios, nor has one of another machine."""
    from ..report.units import quantity  # pandas comes with it, which judging two runs does not need

    held = [number > 0 and not why for number, why in enumerate(times.alone)]
    header = ["benchmark"]
    for run, has_ratio in zip(times.runs, held, strict=True):
        header += [run, "ratio"] if has_ratio else [run]
    rows = []
    for name, values in times.medians.items():
        row = [name]
        for value, ratio, has_ratio in zip(values, times.ratios(name), held, strict=True):
            row.append("-" if value is None else quantity(value, "s"))
            if has_ratio:
                row.append("-" if ratio is None else f"{ratio:.3g}")
        rows.append(row)
    return header, rows
