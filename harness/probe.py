"""The contract of a probe: a question, the cases it makes of a plan, how one is measured and shown.

A probe is a dataclass; its fields are its options (`probe.NAME.OPTION` on the command line). Methods that
measure run in a worker process and may raise NotOk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from cellbench import cells
from cellbench.cells import find
from cellbench.cells.derived import layers
from cellbench.cells.foreign import ForeignError, guarded

from .case import Case
from .extras import PackageMissing

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    import pandas as pd

    from .report import Colours, Section

Series = dict[str, Any]
WAITS = "waits"
# of (case id, series), (case id, share done), (case id, Intermediate) or (case id, CaseResult)
Emit = Callable[[Any], None]

PACKAGE = f"{__package__}.probes"
GROUP = "cellbench.probes"  # of entry points
NO_GROUP = ""  # of which nothing can be installed: the files of the package alone


class NotOk(Exception):
    """A case ends with a status other than ok, and the reason; `series` are what is known all the same."""

    def __init__(self, status: str, reason: str, series: Iterable[Series] = ()) -> None:
        super().__init__(reason)
        self.status, self.reason, self.series = status, reason, list(series)


@dataclass(frozen=True)
class Intermediate:
    """What a case would come to if it ended now: `series` at its evaluation `number`, from 1 on.

    After the `last` one it ends anyway.
    """

    number: int
    series: list[Series]
    last: bool = False

    def value(self, metric: str) -> float | None:
        """The median of a metric; None where it is not among the series."""
        found = [one["values"] for one in self.series if one["metric"] == metric]
        return float(np.median(found[0])) if found else None


@dataclass(frozen=True)
class Plan:
    """What a run was asked for, checked: every list is of names or sizes to combine."""

    cells: tuple[str, ...]
    backends: tuple[str, ...]
    tasks: tuple[str, ...]
    steps: tuple[int, ...]
    batch: tuple[int, ...]
    input_size: tuple[int, ...]
    hidden_size: tuple[int, ...]
    direction: tuple[str, ...]
    dtype: str
    device: str
    threads: int
    seeds: tuple[int, ...]
    match: str | None = None  # the budget at which cells are compared, or none: all at hidden_size

    @property
    def sizes(self) -> list[dict[str, Any]]:
        """All combinations of the workload's sizes."""
        return [
            {"steps": t, "batch": b, "input_size": i, "hidden_size": h}
            for i in self.input_size
            for h in self.hidden_size
            for b in self.batch
            for t in self.steps
        ]

    def runs(self, probe: str) -> list[Case]:
        """Cases of a probe that runs every cell at every size, in every direction, on every backend."""
        return [
            Case(probe, c, b, self.device, self.dtype, self.threads, **size, direction=d)
            for c in self.cells
            for size in self.sizes
            for d in self.direction
            for b in self.backends
        ]


@dataclass(frozen=True)
class Probe:
    """Base of all probes.

    A probe of one's own is a file. It says with `sections` how a report shows it; without, the report has a
    plain table of its metrics.

        @dataclass(frozen=True)
        class Depth(Probe):
            def cases(self, plan):
                return [Case(self.name, cell, seed=s) for cell in plan.cells for s in plan.seeds]

            def measure(self, case, emit):
                return "counted", [series("depth", "1", float(len(case.spec)))]

            def sections(self, rows, colours):
                rows = rows[rows["metric"] == "depth"]
                entries = tuple((Entry(r.label), number(f"{r.value:g}")) for r in rows.itertuples())
                table = Table("Depth", ("cell", "depth"), entries, "Counted once.")
                figure = Figure("depth", "Depth", "Depth by cell.", lambda: draw(rows))  # a matplotlib figure
                yield Section("Depth", (figure,), (table,))

    `cellbench run "probes=[depth.py:Depth]"` measures it, `cellbench report --probe depth.py:Depth` shows it.
    Section, Figure, Table, Entry and number are those of `cellbench.harness.report`.
    """

    repeats: ClassVar[int] = 0  # processes of the second pass; 0: there is none
    timed: ClassVar[bool] = True  # False where the first pass measures no time, and several may run at once
    intermediate: ClassVar[tuple[str, ...]] = ()  # metrics of which it emits values on the way
    times_alone: ClassVar[bool] = True  # False where a timed case has results that other work does not spoil

    @property
    def name(self) -> str:
        return find.public_name(self)

    def cases(self, plan: Plan) -> list[Case]:
        """The cases of the plan that this probe measures, in order."""
        raise NotImplementedError

    def measure(self, case: Case, emit: Emit) -> tuple[Any, ...]:
        """First pass: (implementation, series), or with a third, a line that is kept as the rows' reason.

        In place of the series, a function without arguments may stand, which returns them, or (series, line):
        what is left to do that measures no time, and runs beside others where that serves.

        emit((case.id, series)) hands over some before the end, emit((case.id, 0.4)) says that 0.4 of the case
        is done: a silence longer than case_timeout_s is taken for a hang. emit((case.id, Intermediate(...)))
        says what the metrics of `intermediate` would be now. It raises NotOk where a search prunes the case.

        Runs in a process of its own for all cases that differ in seed and variant only.
        """
        raise NotImplementedError

    def kept_in(self, folder: str) -> dict[str, Any]:
        """Options by which a case that was interrupted goes on from what it left in this folder; none where
        each begins anew. A folder of the run's own is given, which is removed once all cases have ended.
        """
        return {}

    def comparisons(self, cases: list[Case]) -> list[list[Case]]:
        """The ok cases in groups that are measured together in the second pass."""
        return []

    def compare(self, cases: list[Case], process: int, emit: Emit) -> None:
        """Second pass, several comparisons a process: emits series for each case of one comparison."""

    def sections(self, rows: pd.DataFrame, colours: Colours) -> Iterable[Section] | None:
        """The sections of a report, from this probe's rows; None for a plain table of its metrics.

        rows are tidy, one observation a row, those of cases without a result too. Their column `label` is the
        cell with its options; a null is "" or -1. colours has a colour for each cell and each backend.
        """
        return None

    def estimate_s(self, case: Case) -> float:
        """About how long a case takes in the first pass, in seconds on two slow cores."""
        return 2.0

    def estimate_repeat_s(self, case: Case) -> float:
        """The same in each process of the second pass."""
        return 0.0


def series(
    metric: str, unit: str, values: float | Iterable[float], lag: Iterable[float] | None = None, **more: Any
) -> Series:
    """Values of one metric; lag is their position on a per-step axis; process and sample go into `more`."""
    numbers = [float(v) for v in values] if isinstance(values, Iterable) else [float(values)]
    return {
        "metric": metric,
        "unit": unit,
        "values": numbers,
        **({} if lag is None else {"lag": [int(k) for k in lag]}),
        **more,
    }


def names() -> list[str]:
    return find.names(PACKAGE, GROUP)


def get(spec: str, options: dict[str, Any] | None = None) -> Probe:
    """The probe that a spec names, with options set. Raises ValueError for an unknown probe."""
    return find.member(spec, Probe, PACKAGE, GROUP, options)


def from_elsewhere(specs: Iterable[str], measured: Iterable[str]) -> list[Probe]:
    """The probes of specs; all installed ones too where something was measured by a probe not known so far.

    A name in `measured`, which comes from results, is never imported: it only asks for what is installed.
    """
    given, built_in = [get(spec) for spec in specs], set(find.names(PACKAGE, NO_GROUP))
    if set(measured) <= built_in | {probe.name for probe in given}:
        return given
    return [*given, *(get(name) for name in names() if name not in built_in)]


@dataclass(frozen=True)
class CaseResult:
    """How a case ended in the first pass."""

    status: str
    reason: str | None = None
    implementation: str | None = None
    series: list[Series] = field(default_factory=list)


def measure_cases(
    emit: Emit,
    spec: str,
    options: dict[str, Any],
    cases: list[Case],
    go: Connection | None = None,
    pruned: Connection | None = None,
) -> None:
    """Runs in the worker: the first pass of some cases, one after the other.

    Emits (case id, CaseResult) at the end of each. With `go`, it emits (case id, WAITS) before what measures
    no time, and waits for a byte. `pruned` answers each Intermediate: the reason to end the case, or None.
    """
    probe = get(spec, options)
    emit = _answered(emit, pruned)
    for case in cases:
        try:
            if reason := _refusal(case):
                raise NotOk("unsupported", reason)
            # NumPy's warnings are no words of this project: a status says what is not finite
            with guarded(str(case)), np.errstate(all="ignore"):
                implementation, measured, *line = probe.measure(case, emit)
                if callable(measured):
                    if go is not None:
                        emit((case.id, WAITS))
                        go.recv_bytes()
                    measured, *line = measured()
            result = CaseResult("ok", line[0] if line else None, implementation, measured)
        except NotOk as stop:
            result = CaseResult(stop.status, stop.reason, series=stop.series)
        except ForeignError as error:
            result = CaseResult("failed", str(error))
        except PackageMissing as missing:
            result = CaseResult("unavailable", str(missing))
        emit((case.id, result))


def _answered(emit: Emit, answers: Connection | None) -> Emit:
    """emit, which waits for the answer to an Intermediate; without answers nobody asks for those."""

    def answered(message: Any) -> None:
        found = message[1]
        if not isinstance(found, Intermediate):
            emit(message)
        elif answers is not None:
            emit(message)
            if reason := answers.recv():
                raise NotOk("pruned", reason, found.series)

    return answered


def _refusal(case: Case) -> str | None:
    """Why no probe can measure this case, or None."""
    if case.refused:
        return case.refused
    if not (case.input_size and case.hidden_size):
        return None
    return layers.unfit(cell_of(case), case.input_size, case.hidden_size)


def measure_together(
    emit: Emit, spec: str, options: dict[str, Any], group: list[list[Case]], process: int
) -> None:
    """Runs in the worker: the second pass of several comparisons, one after the other."""
    probe = get(spec, options)
    for comparison in group:
        probe.compare(comparison, process, emit)


def cell_of(case: Case) -> cells.GatedCell:
    return cells.get(case.spec)
