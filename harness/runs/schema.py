"""A composed configuration checked before anything runs, and the probes and cases that it asks for.

Every mistake is a ConfigError of one line: the thing, the value, what is allowed, the next step.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from cellbench import cells
from cellbench.cells import find
from cellbench.cells.programs.formats import FORMATS
from cellbench.cells.programs.program import DEVICES, DIRECTIONS

from .. import probe as probes
from .. import task as tasks
from ..probe import Plan
from . import objective, values
from .groups import PlannedProbe
from .match import BUDGETS, matched
from .values import ConfigError


@dataclass(frozen=True)
class Settings:
    """A checked configuration: the probes with their cases, and how they are run."""

    probes: list[PlannedProbe]
    results: Path
    budget_s: float | None
    case_timeout_s: float
    config: dict[str, Any]


def check(config: dict[str, Any]) -> Settings:
    """The settings that a composed configuration asks for. Raises ConfigError."""
    try:
        plan = _plan(config)
        specs = values.members("probes", config["probes"], probes.names())
        planned = [_planned(spec, plan, config["probe"]) for spec in specs]
    except (ValueError, TypeError) as error:
        raise ConfigError(str(error)) from None
    budget = config["budget_s"]
    objective.split(config["objective"], [one.probe.name for one in planned])
    return Settings(
        probes=planned,
        results=values.writable(config["results"]),
        budget_s=None if budget is None else values.seconds("budget_s", budget),
        case_timeout_s=values.seconds("case_timeout_s", config["case_timeout_s"]),
        config=config,
    )


def _plan(config: dict[str, Any]) -> Plan:
    workload = {k: values.sizes(f"workload.{k}", v) for k, v in config["workload"].items()}
    values.addressable(**{k: max(v) for k, v in workload.items()})
    if isinstance(config["dtype"], list):
        formats = ",".join(map(str, config["dtype"])) or "float32,bfloat16"
        raise ConfigError(
            f"dtype is {config['dtype']!r}; a run has one format, one of {', '.join(FORMATS)}. For a run of"
            f" each give -m dtype={formats}"
        )
    values.known("dtype", config["dtype"], list(FORMATS))
    values.known("device", config["device"], list(DEVICES))
    directions = values.members("direction", config["direction"], list(DIRECTIONS))
    for name in directions:
        values.known("direction", name, list(DIRECTIONS))
    plan = Plan(
        cells=values.members("cells", config["cells"], cells.names()),
        backends=values.members("backends", config["backends"], cells.backend_names()),
        tasks=values.members("tasks", config["tasks"], tasks.names()),
        direction=directions,
        dtype=config["dtype"],
        device=config["device"],
        threads=values.threads(config["threads"]),
        seeds=values.seeds(config["seeds"]),
        match=_match(config["match"]),
        **workload,
    )
    for get, specs in ((cells.get, plan.cells), (cells.backend, plan.backends), (tasks.get, plan.tasks)):
        for spec in specs:
            get(spec)
    _distinct(plan.cells)
    values.few(_count(plan), "the combinations that are asked for", "the lists")
    return plan


def _count(plan: Plan) -> int:
    """An upper bound of the cases of a probe: of workloads, or of tasks, whichever are more."""
    grid = (plan.steps, plan.batch, plan.input_size, plan.hidden_size, plan.direction)
    workloads = math.prod(map(len, grid))
    sequences = max(workloads, len(plan.tasks) * len(plan.hidden_size) * len(plan.seeds))
    return len(plan.cells) * len(plan.backends) * sequences


def _match(value: Any) -> str | None:
    if value is not None and (not isinstance(value, str) or value not in BUDGETS):
        near = find.nearest(value, BUDGETS)
        raise ConfigError(
            f"match is {value!r}{near} it must be one of {', '.join(BUDGETS)}, or null for none"
        )
    return value


def _distinct(specs: tuple[str, ...]) -> None:
    """Refuses two cells that no row could tell apart."""
    seen: dict[tuple[str, str], str] = {}
    for spec in specs:
        cell = cells.get(spec)
        other = seen.setdefault((cell.name, cell.options), spec)
        if other != spec:
            raise ConfigError(
                f"cells {other!r} and {spec!r} would both be called {cell.name!r}; rename one class, or run"
                " them apart"
            )


def _planned(spec: str, plan: Plan, options: dict[str, Any]) -> PlannedProbe:
    """A probe with its options set, and its cases."""
    probe = probes.get(spec)
    given = options.get(probe.name, {})
    if given and spec != probe.name:
        raise ConfigError(
            f"probe {spec!r} has options of its own; set them as probe.{probe.name}.OPTION=VALUE"
        )
    typed = {k: values.option(f"probe.{spec}.{k}", v, probe, k) for k, v in given.items()}
    probe = probes.get(spec, typed)
    cases = [replace(case, probe_options=plain(asdict(probe))) for case in probe.cases(plan)]
    if plan.match:
        cases = [matched(case, plan.match, plan.cells[0]) for case in cases]
    values.few(len(cases), f"cases of probe {spec!r}", "its options")
    if not cases:
        raise ConfigError(f"probe {spec!r} has nothing to measure with these options")
    for case in cases:
        values.addressable(*(n or 1 for n in (case.steps, case.batch, case.input_size, case.hidden_size)))
    if len({case.id for case in cases}) < len(cases):
        raise ConfigError(f"probe {spec!r} would measure a case twice; name each of its options' values once")
    return PlannedProbe(spec, typed, probe, cases)


def plain(value: Any) -> Any:
    """The same with lists for tuples, as YAML and JSON have it."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    return [plain(v) for v in value] if isinstance(value, (list, tuple)) else value
