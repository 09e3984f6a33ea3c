"""Cases that share a process: in the first pass alike or short ones, in the second whole comparisons."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from cellbench.cells.find import path_of, short_name

from ..case import Case
from ..measure import forked
from ..probe import Probe
from ..screen import counted

SHORT_S = 1.0  # a case that takes less is mostly the start of its process
SHARED_S = 10.0  # about which cases that share a process take, so that there is work for every core

Group = list[list[Case]]  # comparisons, each of several cases


@dataclass(frozen=True)
class PlannedProbe:
    """A probe with its options and cases; spec and options find it again in a worker."""

    spec: str
    options: dict[str, Any]
    probe: Probe
    cases: list[Case]


def about(planned: PlannedProbe, group: Group, process: int) -> tuple[str, float]:
    """The label of a process of the second pass, and about how many seconds it takes."""
    names = ", ".join(dict.fromkeys(short_name(case.spec) for case in flat(group)))
    label = f"{planned.probe.name} {names}, {counted(len(group), 'comparison')}"
    label += f", process {process + 1} of {planned.probe.repeats}"
    return label, sum(planned.probe.estimate_repeat_s(case) for case in flat(group))


def may_fork(case: Case) -> bool:
    """Whether a case is measured in a forked process: not on CUDA, which cannot be used there.

    One on no device needs no backend: a spawned process is there before the server has imported them, and a
    forked one sooner once it has.
    """
    return case.threads == 1 and (case.device == "cpu" or (case.device is None and forked.has_answered()))


def first_passes(probe: Probe, cases: list[Case]) -> list[list[Case]]:
    """The cases of each process of the first pass, in order of appearance.

    They differ in seed and variant only. What is short, measures no time and needs no backend shares one with
    the other cells and sizes beside it, but a person's own file is not run beside other cells.
    """
    groups: list[list[Case]] = []
    alike: dict[Case, list[Case]] = {}
    shared: list[Case] = []  # the last group that short cases share
    for case in cases:
        seconds = probe.estimate_s(case)
        if case.device is None and not probe.timed and seconds < SHORT_S:
            beside = groups and groups[-1] is shared and path_of(shared[0].spec) == path_of(case.spec)
            if not beside or sum(map(probe.estimate_s, shared)) + seconds > SHARED_S:
                shared = []
                groups.append(shared)
            shared.append(case)
            continue
        group = alike.setdefault(replace(case, seed=None, variant=None), [])
        if not group:
            groups.append(group)
        group.append(case)
    return groups


def bounded(comparisons: Group, most: int) -> list[Group]:
    """Comparisons in a row, in groups of at most `most` cases (or one comparison).

    A person's own file is not run beside other cells.
    """
    groups: list[Group] = []
    for comparison in comparisons:
        last = groups[-1] if groups else None
        alike = last and path_of(last[0][0].spec) == path_of(comparison[0].spec)
        if last and alike and len(flat(last)) + len(comparison) <= most:
            last.append(comparison)
        else:
            groups.append([comparison])
    return groups


def flat(group: Group) -> list[Case]:
    """All cases of all comparisons."""
    return [case for comparison in group for case in comparison]


def estimate_s(probes: list[PlannedProbe]) -> float:
    """About how long it all takes, in seconds on two slow cores."""
    return sum(
        planned.probe.estimate_s(case) + planned.probe.repeats * planned.probe.estimate_repeat_s(case)
        for planned in probes
        for case in planned.cases
    )
