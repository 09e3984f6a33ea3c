"""Composes the configuration with Hydra and checks all of it before anything runs.

Every mistake is a ConfigError of one line: the thing, the value, what is allowed, the next step.
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from cellbench import cells
from cellbench.cells import find
from cellbench.cells.programs.program import DEVICES, DIRECTIONS, DTYPES

from .. import probe as probes
from .. import task as tasks
from ..probe import Plan
from .match import BUDGETS, matched
from .runner import Asked

LONGEST_S = 1e6  # that a process may be waited for: the system's own call takes no more than 24 days
LARGEST = 2**62  # bytes that an array may have and still be addressed


class ConfigError(ValueError):
    """What was asked cannot be run."""


@dataclass(frozen=True)
class Settings:
    """A checked configuration: what to run, and how."""

    asked: list[Asked]
    results: Path
    budget_s: float | None
    case_timeout_s: float
    config: dict[str, Any]


def folder() -> Path:
    """The folder of YAML files."""
    from cellbench import conf

    return Path(conf.__path__[0])


def compose(overrides: list[str]) -> dict[str, Any]:
    """The configuration as plain values. Raises ConfigError for a key that does not exist, with + too."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    register()
    try:
        with initialize_config_dir(str(folder()), version_base="1.3"):
            plain = OmegaConf.to_container(hydra_compose("config"))
            assert isinstance(plain, dict)
            for override in _parsed(overrides):
                _check_key(override, plain)
            config = OmegaConf.to_container(hydra_compose("config", overrides), resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(" ".join(str(error).split())) from None
    assert isinstance(config, dict)
    return {str(k): v for k, v in config.items()}


def register() -> None:
    """Gives Hydra every probe's options, typed, as the group choice probe=defaults."""
    from hydra.core.config_store import ConfigStore

    options = {name: _plain(asdict(probes.get(name))) for name in probes.names()}
    ConfigStore.instance().store("defaults", options, group="probe")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value


def quoted(override: str) -> str:
    """The override with every part such as elman:activation=relu in quotes, which Hydra's grammar wants
    around a second `=`.
    """
    key, equals, value = override.partition("=")
    return (
        key + equals + re.sub(r"""(?<![^\[,])[^\[\],'"{}()]*=[^\[\],'"{}()]*(?![^\],])""", r'"\g<0>"', value)
    )


def sweep(overrides: list[str]) -> list[list[str]]:
    """The overrides of every job of a multirun."""
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    return [list(job) for batch in BasicSweeper.split_arguments(_parsed(overrides), None) for job in batch]


def _parsed(overrides: list[str]) -> list[Any]:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    parsed = []
    for text in overrides:
        try:
            parsed += OverridesParser.create().parse_overrides([text])
        except HydraException as error:
            first = " ".join(str(error).splitlines()[0].split())
            raise ConfigError(
                f"cannot read {text!r}: {first}; write KEY=VALUE, a list as 'KEY=[a,b]' in quotes"
            ) from None
    return parsed


def _check_key(override: Any, plain: dict[Any, Any]) -> None:
    key = override.key_or_group
    if key.split(".")[0].split("/")[0] == "hydra":
        return
    if override.is_delete():
        raise ConfigError(f"~{key} takes a key away; every key of cellbench is needed, so set it to a value")
    if key == "experiment":
        _known(
            "experiment", override.value(), [p.stem for p in sorted((folder() / "experiment").glob("*.yaml"))]
        )
        return
    node: Any = plain
    for depth, part in enumerate(key.split(".")):
        if not isinstance(node, dict) or part not in node:
            known = list(node) if isinstance(node, dict) else []
            above = ".".join(key.split(".")[:depth])
            near = find.nearest(part, known)
            raise ConfigError(
                f"unknown key {key!r}{near} {above + ' has' if above else 'keys'}:"
                f" {', '.join(known) or 'no keys below it'}"
            )
        node = node[part]
    if override.is_add():
        raise ConfigError(f"+{key} adds a key that exists; write {key}=VALUE")
    if isinstance(node, dict):
        raise ConfigError(
            f"{key} is a group of keys, not a value; set one of {', '.join(f'{key}.{k}' for k in node)}"
        )


def _known(what: str, value: Any, known: list[str]) -> None:
    if value not in known:
        raise ConfigError(f"unknown {what} {value!r}{find.nearest(value, known)} {what}s: {', '.join(known)}")


def check(config: dict[str, Any]) -> Settings:
    """The settings that a composed configuration asks for. Raises ConfigError."""
    try:
        plan = _plan(config)
        asked = [
            _asked(spec, plan, config["probe"])
            for spec in members("probes", config["probes"], probes.names())
        ]
    except (ValueError, TypeError) as error:
        raise ConfigError(str(error)) from None
    budget = config["budget_s"]
    return Settings(
        asked=asked,
        results=_writable(config["results"]),
        budget_s=None if budget is None else _seconds("budget_s", budget),
        case_timeout_s=_seconds("case_timeout_s", config["case_timeout_s"]),
        config=config,
    )


def _plan(config: dict[str, Any]) -> Plan:
    workload = {k: _sizes(f"workload.{k}", v) for k, v in config["workload"].items()}
    _addressable(**{k: max(v) for k, v in workload.items()})
    for key, allowed in (("dtype", DTYPES), ("device", DEVICES)):
        _known(key, config[key], list(allowed))
    directions = members("direction", config["direction"], list(DIRECTIONS))
    for name in directions:
        _known("direction", name, list(DIRECTIONS))
    plan = Plan(
        cells=members("cells", config["cells"], cells.names()),
        backends=members("backends", config["backends"], cells.backend_names()),
        tasks=members("tasks", config["tasks"], tasks.names()),
        direction=directions,
        dtype=config["dtype"],
        device=config["device"],
        threads=_size("threads", config["threads"]),
        seeds=_seeds(config["seeds"]),
        match=_match(config["match"]),
        **workload,
    )
    for get, specs in ((cells.get, plan.cells), (cells.backend, plan.backends), (tasks.get, plan.tasks)):
        for spec in specs:
            get(spec)
    _distinct(plan.cells)
    return plan


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


def members(key: str, value: Any, known: list[str]) -> tuple[str, ...]:
    """A name, a list of names, or all."""
    if value == "all":
        return tuple(known)
    found = tuple(str(v) for v in value) if isinstance(value, list) else (str(value),)
    if not found or value is None:
        raise ConfigError(f"{key} is empty; give a name, a list such as '{key}=[{known[0]}]', or {key}=all")
    if len(set(found)) < len(found):
        raise ConfigError(f"{key} names {next(f for f in found if found.count(f) > 1)!r} twice; name it once")
    return found


def _asked(spec: str, plan: Plan, options: dict[str, Any]) -> Asked:
    """A probe with its options set, and its cases."""
    probe = probes.get(spec)
    own = options.get(probe.name, {})
    if own and spec != probe.name:
        raise ConfigError(
            f"probe {spec!r} has options of its own; set them as probe.{probe.name}.OPTION=VALUE"
        )
    given = {k: _typed(f"probe.{spec}.{k}", v, probe, k) for k, v in own.items()}
    probe = probes.get(spec, given)
    cases = [replace(case, probe_options=_plain(asdict(probe))) for case in probe.cases(plan)]
    if plan.match:
        cases = [matched(case, plan.match, plan.cells[0]) for case in cases]
    if not cases:
        raise ConfigError(f"probe {spec!r} has nothing to measure with these options")
    for case in cases:
        _addressable(*(n or 1 for n in (case.steps, case.batch, case.input_size, case.hidden_size)))
    if len({case.id for case in cases}) < len(cases):
        raise ConfigError(f"probe {spec!r} would measure a case twice; name each of its options' values once")
    return Asked(spec, given, probe, cases)


def _typed(key: str, value: Any, probe: Any, name: str) -> Any:
    """The value as the type of the option's default; numbers must be finite and not negative, those of a size
    positive.
    """
    default = next(f.default for f in fields(probe) if f.name == name)
    if name == "backends":
        return _backends(key, value)
    if isinstance(default, tuple):
        return tuple(value) if isinstance(value, list) else (value,)
    if isinstance(default, (bool, str)):
        return find.convert(str(value), default, key)
    if isinstance(default, int):
        return _size(key, value)
    return _positive(key, value)


def _backends(key: str, value: Any) -> tuple[str, ...]:
    """Backends of a probe; an empty list stands for those of the run."""
    if value == []:
        return ()
    found = members(key, value, cells.backend_names())
    for name in found:
        cells.backend(name)
    return found


def _size(key: str, value: Any) -> int:
    if isinstance(value, list):
        raise ConfigError(f"{key} is {value!r}; it must be one number")
    return _sizes(key, value)[0]


def _sizes(key: str, value: Any) -> tuple[int, ...]:
    values = value if isinstance(value, list) else [value]
    if not values:
        raise ConfigError(f"{key} is empty; give a number, or a list such as '{key}=[64,256]'")
    for v in values:
        if isinstance(v, bool) or not isinstance(v, int) or v < 1:
            raise ConfigError(f"{key} is {v!r}; it must be a whole number of at least 1, or a list of such")
    if len(set(values)) < len(values):
        raise ConfigError(f"{key} names a size twice; name it once")
    return tuple(values)


def _positive(key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0 or math.isinf(value):
        raise ConfigError(f"{key} is {value!r}; it must be a number above 0")
    return float(value)


def _seconds(key: str, value: Any) -> float:
    if _positive(key, value) > LONGEST_S:
        raise ConfigError(f"{key} is {value!r}; it must be at most {LONGEST_S:g}")
    return float(value)


def _seeds(value: Any) -> tuple[int, ...]:
    if isinstance(value, int) and not isinstance(value, bool):
        return tuple(range(_size("seeds", value)))
    if (
        not isinstance(value, list)
        or not value
        or any(isinstance(s, bool) or not isinstance(s, int) or s < 0 for s in value)
    ):
        raise ConfigError(f"seeds is {value!r}; give a number of seeds, or a list of whole numbers from 0 on")
    if len(set(value)) < len(value):
        raise ConfigError(f"seeds is {value!r}; it names a seed twice, name it once")
    return tuple(value)


def _addressable(steps: int, batch: int, input_size: int, hidden_size: int) -> None:
    gates = 8  # an upper bound that no check depends on: it only keeps products below the address space
    for what, size in (
        ("x of workload.steps * batch * input_size", steps * batch * input_size),
        ("states of workload.steps * batch * hidden_size", steps * batch * hidden_size * gates),
        (
            "weights of workload.hidden_size * (input_size + hidden_size)",
            hidden_size * (input_size + hidden_size) * gates,
        ),
    ):
        if size * 8 > LARGEST:
            raise ConfigError(
                f"{what} take {size * 8:.3g} bytes, which no machine can address; choose smaller sizes"
            )


def _writable(results: Any) -> Path:
    if not isinstance(results, str) or not results.strip():
        raise ConfigError(f"results is {results!r}; it must be a folder, results=DIR")
    try:
        path = Path(results).expanduser()
        nearest = path
        while not nearest.exists():
            nearest = nearest.parent
        if nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK):
            return path
    except (OSError, RuntimeError):
        pass
    raise ConfigError(f"results {results!r} cannot be written; give another folder, results=DIR")
