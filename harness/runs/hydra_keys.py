"""Keys of Hydra's own: those that have an effect here, and why the others have none.

A key that would silently do nothing is refused, as a misspelt one is.
"""

from __future__ import annotations

import logging
import re
import sys
from pathlib import Path
from typing import Any

from cellbench.cells import find

from .. import extras, store
from .values import ConfigError

SETS = "Hydra sets it itself"
# keys, with all below them, that would do nothing or harm here; what to type instead
REFUSED = {
    "hydra.run": "a run's folder is made in results=DIR",
    "hydra.sweep": "a sweep lies below results=DIR",
    "hydra.output_subdir": "the manifest of a run holds its configuration",
    "hydra.job.chdir": "paths are those of the folder that you are in",
    "hydra.mode": "a sweep is asked for by -m",
    **dict.fromkeys(("hydra.runtime", "hydra.overrides"), SETS),
    **dict.fromkeys([f"hydra.job.{key}" for key in ("num", "id", "config_name", "override_dirname")], SETS),
    **dict.fromkeys(("hydra.help", "hydra.hydra_help"), "`cellbench run --help` is the help"),
}
FREE = ("hydra.launcher.ray.init.",)  # arguments of ray.init, of which Hydra's file names one
OF_SWEEPS = ("hydra.launcher", "hydra.sweeper", "hydra.hydra_logging", "hydra.callbacks")


def check(overrides: list[Any], sweeps: bool) -> None:
    """Raises ConfigError for the first key of Hydra that has no effect; `overrides` are parsed ones."""
    ours = [o for o in overrides if re.split(r"[./]", o.key_or_group)[0] == "hydra"]
    for override in ours:
        if "/" in override.key_or_group:
            _check_choice(override.key_or_group, override.value())
    groups = [o.input_line for o in ours if "/" in o.key_or_group]
    known = _composed(groups) if ours else {}
    for override in ours:
        key = override.key_or_group.replace("/", ".")
        for name, reason in REFUSED.items():
            if key == name or key.startswith(f"{name}."):
                raise ConfigError(f"{override.key_or_group} has no effect here: {reason}; leave it out")
        if not sweeps and key.startswith(OF_SWEEPS):
            raise ConfigError(f"{override.key_or_group} is for sweeps alone; write -m, or leave it out")
        if "/" not in override.key_or_group and not (override.is_add() and key.startswith(FREE)):
            _known(key, known)


def _check_choice(group: str, chosen: Any) -> None:
    """Raises ConfigError for a group that Hydra has not, and for a file that is not in one."""
    from hydra.core.global_hydra import GlobalHydra

    loader = GlobalHydra.instance().config_loader()
    above, _, name = group.rpartition("/")
    groups = loader.list_groups(above)
    if name not in groups:
        raise ConfigError(
            f"unknown key {group!r}{find.nearest(name, groups)} {above}/ has: {', '.join(groups)}"
        )
    options = loader.get_group_options(group)
    for one in chosen if isinstance(chosen, list) else [chosen]:
        if "/" not in str(one) and str(one) not in options:
            raise ConfigError(
                f"unknown {group} {str(one)!r}{find.nearest(str(one), options)} there are:"
                f" {', '.join(options)}; a file of yours is conf/{group}/NAME.yaml"
            )


def check_primary(name: str) -> None:
    """Raises ConfigError for a first file that is not there."""
    from hydra.core.global_hydra import GlobalHydra

    loader = GlobalHydra.instance().config_loader()
    files = [file for file in loader.get_group_options("") if not file.startswith("_")]
    if name.removesuffix(".yaml") not in files:
        raise ConfigError(
            f"--config-name {name!r}: there is no {name.removesuffix('.yaml')}.yaml in ./conf or --config-dir"
            f"{find.nearest(name, files)} there are: {', '.join(files)}; experiment=NAME takes a file of"
            " conf/experiment"
        )


def check_searched(paths: list[str]) -> None:
    """Raises ConfigError for a place of hydra.searchpath that is not there, which Hydra passes over."""
    for path in paths:
        scheme, colon, place = path.partition("://")
        if not colon:
            scheme, place = "file", path
        if scheme == "file" and not Path(place).is_dir():
            raise ConfigError(f"hydra.searchpath: {path!r} is no folder; give one with YAML files")
        if scheme == "pkg" and not extras.there(place.replace("/", ".")):
            raise ConfigError(f"hydra.searchpath: {path!r} is no installed package; give PACKAGE.FOLDER")


def _composed(groups: list[str]) -> Any:
    """Hydra's own configuration with these choices of groups."""
    from hydra import compose
    from omegaconf import OmegaConf

    composed = compose("config", groups, return_hydra_config=True)
    return {"hydra": OmegaConf.to_container(composed.hydra)}


def _known(key: str, node: Any) -> None:
    """Raises ConfigError for a key that there is not; below a table that is empty, any may stand."""
    names = key.split(".")
    for depth, name in enumerate(names):
        if not isinstance(node, dict) or (depth > 1 and not node):
            return
        if name not in node:
            above = ".".join(names[:depth])
            raise ConfigError(
                f"unknown key {key!r}{find.nearest(name, node)} {above} has: {', '.join(map(str, node))}"
            )
        node = node[name]


def apply(composed: Any, results: Path) -> None:
    """Has `hydra.verbose`, `hydra/job_logging` and `hydra.job.env_set` their effect on this process.

    A log that goes to a file lies hidden beside the runs.
    """
    import os

    from hydra.core.utils import configure_log
    from omegaconf import open_dict, read_write

    hydra = composed.hydra
    os.environ.update({str(k): str(v) for k, v in hydra.job.env_set.items()})
    handlers = (hydra.job_logging or {}).get("handlers") or {}
    if any("filename" in handler for handler in handlers.values()):
        store.make(results / ".logs")
        with read_write(hydra.runtime), open_dict(hydra.runtime):
            hydra.runtime.output_dir = str(results / ".logs")
    configure_log(hydra.job_logging, hydra.verbose)
    show(hydra.verbose)


def show(verbose: Any) -> None:
    """Prints what is logged where verbose was asked for, and no handler would."""
    if verbose and not logging.getLogger().handlers:
        logging.basicConfig(stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
        if verbose is not True:
            logging.getLogger().setLevel(logging.WARNING)
