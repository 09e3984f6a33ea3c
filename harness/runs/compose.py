"""The configuration composed by Hydra: the files of conf/, and KEY=VALUE overrides on top."""

from __future__ import annotations

import math
import re
from dataclasses import asdict
from functools import cache
from itertools import islice, product
from typing import Any

from cellbench.cells import find

from .. import probe as probes
from ..store.sweeps import MOST_JOBS
from . import hydra_keys, places, values
from .places import own, users
from .schema import Settings, check, plain
from .values import ConfigError

GROUPS = ("experiment", "workload")  # whose value is a file's name
PLAIN = r"""[^\[\],'"{}()]*"""  # no bracket, no comma, no quote
WITH_EQUALS = re.compile(
    rf"""
    (?<![^\[,])      # an element begins with the value, after a bracket, or after a comma
    {PLAIN}={PLAIN}
    (?![^\],])       # and ends with the value, before a bracket, or before a comma
    """,
    re.VERBOSE,
)
MOST_MEANT = 4  # keys that an error suggests


def settings(overrides: list[str]) -> Settings:
    """The checked settings of overrides as a person types them. Raises ConfigError."""
    return check(compose([quoted(o) for o in overrides]))


def experiments() -> list[str]:
    """The named sets of overrides, experiment=NAME, the user's after cellbench's own."""
    return places.all_experiments()


def compose(overrides: list[str], name: str = "config") -> dict[str, Any]:
    """The configuration as plain values. Raises ConfigError for a key that does not exist, with + too."""
    return plain_config(composed(overrides, name))


def composed(overrides: list[str], name: str = "config", sweeps: bool = True) -> Any:
    """The configuration with Hydra's own part, of the primary file `name`. Raises ConfigError.

    `sweeps`: keys that have an effect on sweeps alone may stand in it.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    parsed = _parsed(overrides)
    searched = [path for override in parsed for path in _searched(override)]
    hydra_keys.check_searched(searched)
    places.give_also([path.removeprefix("file://") for path in searched if not path.startswith("pkg://")])
    register()
    try:
        with initialize_config_dir(str(own()), version_base="1.3"):
            known = _defaults(tuple(probes.names()))
            for override in parsed:
                _check_single(override, known)
                _check_key(override, known)
                _check_given(override)
            hydra_keys.check(parsed, sweeps)
            hydra_keys.check_primary(name)
            return hydra_compose(name, overrides, return_hydra_config=True)
    except (YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(places.unread(error)) from None
    # the last two: OmegaConf's own faults, such as of hydra.sweeper.params={}
    except (HydraException, OmegaConfBaseException, AttributeError, TypeError) as error:
        raise ConfigError(" ".join(str(error).split())) from None


def plain_config(composed: Any, apart: tuple[str, ...] = ("hydra",)) -> dict[str, Any]:
    """The keys of cellbench, without those apart, as plain values. Raises ConfigError for an unknown one."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        ours = OmegaConf.masked_copy(composed, [str(k) for k in composed if k not in apart])
        config = OmegaConf.to_container(ours, resolve=True)
    except OmegaConfBaseException as error:
        fault = re.sub(r"^\w+ raised while resolving interpolation: ", "", str(error).partition("\n")[0])
        raise ConfigError(f"{error.full_key} cannot be filled in: {fault.strip(chr(34))}") from None
    assert isinstance(config, dict)
    keys: dict[str, Any] = {str(k): v for k, v in config.items()}
    values.shaped(keys, defaults())
    return keys


def defaults() -> dict[Any, Any]:
    """The configuration without overrides, read without Hydra, which may be under way."""
    from omegaconf import OmegaConf

    keys = OmegaConf.to_container(OmegaConf.load(own() / "config.yaml"))
    assert isinstance(keys, dict)
    return {k: v for k, v in keys.items() if k not in ("defaults", "hydra")} | {"probe": _probe_options()}


@cache
def _defaults(probe_names: tuple[str, ...]) -> dict[Any, Any]:
    """The configuration without overrides, for as long as there are the same probes: each compose is slow."""
    from hydra import compose as hydra_compose
    from omegaconf import OmegaConf

    defaults = OmegaConf.to_container(hydra_compose("config"))
    assert isinstance(defaults, dict)
    return defaults


def register() -> None:
    """Gives Hydra every probe's options, typed, as the group choice probe=defaults."""
    from hydra.core.config_store import ConfigStore

    ConfigStore.instance().store("defaults", _probe_options(), group="probe")
    places.register()


def _probe_options() -> dict[str, Any]:
    return {name: plain(asdict(probes.get(name))) for name in probes.names()}


def quoted(override: str) -> str:
    """The override with every element such as elman:activation=relu in quotes.

    Hydra's grammar takes a second `=` in quotes only.
    """
    key, equals, value = override.partition("=")
    return key + equals + WITH_EQUALS.sub(r'"\g<0>"', value)


def sweep(overrides: list[str]) -> list[list[str]]:
    """The overrides of every job of a multirun: each combination of the swept values."""
    choices: dict[str, list[str]] = {}
    for override in _parsed(overrides):
        key = override.get_key_element()
        if not override.is_sweep_override():
            choices[key] = [f"{key}={override.get_value_element_as_str()}"]
        elif override.is_discrete_sweep():
            choices[key] = [f"{key}={v}" for v in islice(override.sweep_string_iterator(), MOST_JOBS + 1)]
        else:
            raise ConfigError(
                f"{override.input_line!r} has no values to go through; write {key}=A,B, or search it with"
                " hydra/sweeper=optuna"
            )
    jobs = math.prod(map(len, choices.values()))
    if jobs > MOST_JOBS:
        raise ConfigError(f"the swept values make {jobs:,} runs or more; at most {MOST_JOBS:,} are planned")
    return [list(job) for job in product(*choices.values())]


def first(overrides: list[str]) -> list[str]:
    """The overrides with one value, the first, for each key of several; for a check before a search."""
    chosen = []
    for override in _parsed(overrides):
        key = override.get_key_element()
        if not override.is_sweep_override():
            chosen.append(override.input_line)
        elif override.is_discrete_sweep():
            chosen.append(f"{key}={next(iter(override.sweep_string_iterator()))}")
        else:
            chosen.append(f"{key}={override.value().start}")
    return chosen


def swept(overrides: list[str]) -> tuple[list[str], list[str]]:
    """(the keys that have several values, the overrides of one value). Raises ConfigError."""
    keys, fixed = [], []
    for override in _parsed(overrides):
        key = override.get_key_element()
        if not override.is_sweep_override():
            fixed.append(override.input_line)
        elif key in ("results", "pruner") or re.split(r"[./]", key)[0] == "hydra":
            raise ConfigError(f"{key} cannot be swept: it belongs to the whole sweep, so give it one value")
        else:
            keys.append(key)
    return keys, fixed


def with_files(overrides: list[str], primary: str) -> list[str]:
    """The overrides with those that a file gives as `hydra.sweeper.params`, which a person's own follow."""
    _, fixed = swept(overrides)
    params = composed(fixed, primary).hydra.sweeper.get("params") or {}
    return [*(f"{key}={value}" for key, value in params.items()), *overrides]


def _parsed(overrides: list[str]) -> list[Any]:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    parsed = []
    for text in overrides:
        try:
            parsed += OverridesParser.create().parse_overrides([text])
        except HydraException as error:
            first = " ".join(str(error).splitlines()[0].split())
            if "Exception: " in first:  # of Hydra's grammar, whose name says nothing to a person
                first = "a character of it needs quotes, KEY='\"VALUE\"'"
            elif " input " in first:  # the same of ANTLR: no viable alternative, mismatched, extraneous
                first = "a bracket, a comma or a value is missing, or one too many"
            raise ConfigError(
                f"cannot read {text!r}: {first}; write KEY=VALUE, a list as 'KEY=[a,b]' in quotes"
            ) from None
    return parsed


def _check_single(override: Any, defaults: dict[Any, Any]) -> None:
    """Raises ConfigError for the several values of a sweep, which Hydra tells apart from a list of values."""
    if not override.is_sweep_override():
        return
    key, value = override.key_or_group, override.input_line.partition("=")[2].replace('"', "").strip()
    chosen = key in GROUPS or re.split(r"[./]", key)[0] == "hydra"
    value = re.sub(r"^choice\((.*)\)$", r"\1", value)  # as a list has them
    node = None if chosen else _node(key, defaults)
    listed = isinstance(node, list) or key == "seeds" or key.startswith("workload.")
    one_run = f"'{key}=[{value}]' for one run of all, or " if listed and override.is_choice_sweep() else ""
    several = "several values" if one_run else "several values, and a run takes one"
    raise ConfigError(
        f"{key}={value} has {several}; give {one_run}`cellbench run -m` for a sweep, a run of each"
    )


def _check_given(override: Any) -> None:
    """Raises ConfigError for an option without a value; the other keys say themselves what they need."""
    key = override.key_or_group
    if not override.is_delete() and override.value() == "" and re.match(r"(probe|hydra)[./]", key):
        raise ConfigError(f"{key} is empty (an empty variable?); give it a value, or leave it out")


def _check_experiment(name: Any) -> None:
    """Raises ConfigError for one that there is not, and for a name of the user's that would go unread."""
    values.known("experiment", name, experiments())
    ours = places.experiments(own())
    for folder in users():
        if name in ours and name in places.experiments(folder):
            raise ConfigError(
                f"experiment {name!r} is cellbench's own, and a file in {folder / 'experiment'}; rename it"
            )
    if name not in ours and (reason := places.without_package(places.files("experiment")[name])):
        raise ConfigError(reason)


def _searched(override: Any) -> list[str]:
    """The places that hydra.searchpath names."""
    if override.key_or_group != "hydra.searchpath" or not isinstance(found := override.value(), list):
        return []
    return [str(entry) for entry in found]


def _check_key(override: Any, defaults: dict[Any, Any]) -> None:
    """Raises ConfigError for a key that is none, and for one that a value cannot be set to."""
    key = override.key_or_group
    if re.split(r"[./]", key)[0] == "hydra":  # its own keys, such as hydra/launcher
        return
    if override.is_delete():
        raise ConfigError(f"~{key} takes a key away; every key of cellbench is needed, so set it to a value")
    if key == "experiment":
        given = override.value()
        for name in given if isinstance(given, list) and given else [given]:
            _check_experiment(name)
        return
    if key == "workload" and (known := places.all_workloads()):
        values.known("workload", override.value(), known)
        return
    node = _node(key, defaults)
    if override.is_add():
        raise ConfigError(f"+{key} adds a key that exists; write {key}=VALUE")
    if isinstance(node, dict):
        raise ConfigError(
            f"{key} is a group of keys, not a value; set one of {', '.join(f'{key}.{k}' for k in node)}"
        )


def _whole(key: str, defaults: dict[Any, Any]) -> str:
    """The keys of which a group may have been left out, as a question: a size, or what probes have; or "".

    probe.training.epochs may be meant by training.epochs, probe.epochs and epochs.
    """
    *_, name = parts = key.split(".")
    if key in defaults["workload"]:
        return f"; did you mean 'workload.{name}'?"
    wholes = [("probe", probe, name) for probe, options in defaults["probe"].items() if name in options]
    meant = [repr(".".join(one)) for one in wholes if {*parts} < {*one}]
    return f"; did you mean {' or '.join(meant)}?" if 0 < len(meant) <= MOST_MEANT else ""


def _node(key: str, defaults: dict[Any, Any]) -> Any:
    """The default of a key. Raises ConfigError for a key that is none."""
    node: Any = defaults
    for depth, name in enumerate(key.split(".")):
        if not isinstance(node, dict) or name not in node:
            names = list(node) if isinstance(node, dict) else []
            above = ".".join(key.split(".")[:depth])
            likely = _whole(key, defaults) or find.nearest(name, names)
            raise ConfigError(
                f"unknown key {key!r}{likely} {above + ' has' if above else 'keys'}:"
                f" {', '.join(names) or 'no keys below it'}"
            )
        node = node[name]
    return node
