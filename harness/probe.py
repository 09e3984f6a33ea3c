"""The contract of a probe: a question, the cases it makes of a plan, and how one case is measured.

A probe is a dataclass; its fields are its options (`probe.NAME.OPTION` on the command line). Methods that
measure run in a worker process and may raise NotOk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from cellbench import cells
from cellbench.cells import find
from cellbench.cells.derived import layers

from .case import Case
from .extras import PackageMissing

Series = dict[str, Any]
Emit = Callable[[tuple[str, list[Series] | float]], None]

PACKAGE = f"{__package__}.probes"


class NotOk(Exception):
    """A case ends with a status other than ok, and the reason."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


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
    def sizes(self) -> list[dict[str, int]]:
        """All combinations of the workload's sizes."""
        return [
            {"steps": t, "batch": b, "input_size": i, "hidden_size": h}
            for i in self.input_size
            for h in self.hidden_size
            for b in self.batch
            for t in self.steps
        ]


@dataclass(frozen=True)
class Probe:
    """Base of all probes. `repeats` is the number of processes of the second pass; 0 means that there is
    none.
    """

    repeats: ClassVar[int] = 0

    @property
    def name(self) -> str:
        return find.public_name(self)

    def cases(self, plan: Plan) -> list[Case]:
        """What this probe measures of the plan, in order."""
        raise NotImplementedError

    def measure(self, case: Case, emit: Emit) -> tuple[Any, ...]:
        """First pass: (implementation, series), or with a third, a line about what was found, kept as the
        rows' reason.

        emit((case.id, series)) hands over parts before the end, emit((case.id, 0.4)) says that 0.4 of the
        case is done: a silence longer than case_timeout_s is taken for a hang.

        Runs in a process of its own for all cases that differ in seed and variant only.
        """
        raise NotImplementedError

    def comparisons(self, cases: list[Case]) -> list[list[Case]]:
        """The ok cases by what is measured together in the second pass."""
        return []

    def compare(self, cases: list[Case], process: int, emit: Emit) -> None:
        """Second pass, several comparisons a process: emits series for each case of one comparison."""

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
    return find.names(PACKAGE, "cellbench.probes")


def get(spec: str, options: dict[str, Any] | None = None) -> Probe:
    """The probe that a spec names, with options set. Raises ValueError for an unknown probe."""
    return find.member(spec, Probe, PACKAGE, "cellbench.probes", options)


@dataclass(frozen=True)
class Found:
    """What a worker found of a case."""

    status: str
    reason: str | None = None
    implementation: str | None = None
    series: list[Series] = field(default_factory=list)


def measure_cases(emit: Callable[[Any], None], spec: str, options: dict[str, Any], cases: list[Case]) -> None:
    """Runs in the worker: the first pass of some cases, one after the other. Emits (case id, Found) at the
    end of each.
    """
    probe = get(spec, options)
    for case in cases:
        try:
            if case.refused:
                raise NotOk("unsupported", case.refused)
            if (
                case.input_size
                and case.hidden_size
                and (reason := layers.unfit(cell_of(case), case.input_size, case.hidden_size))
            ):
                raise NotOk("unsupported", reason)
            implementation, measured, *said = probe.measure(case, emit)
            found = Found("ok", said[0] if said else None, implementation, measured)
        except NotOk as stop:
            found = Found(stop.status, stop.reason)
        except PackageMissing as missing:
            found = Found("unavailable", str(missing))
        emit((case.id, found))


def measure_together(
    emit: Emit, spec: str, options: dict[str, Any], group: list[list[Case]], process: int
) -> None:
    """Runs in the worker: the second pass of several comparisons, one after the other."""
    probe = get(spec, options)
    for comparison in group:
        probe.compare(comparison, process, emit)


def cell_of(case: Case) -> cells.GatedCell:
    return cells.get(case.spec)
