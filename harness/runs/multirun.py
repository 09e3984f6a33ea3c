"""Hydra's multirun: a run for each combination of swept values, carried by Hydra's launcher."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

from .. import store
from . import compose
from .measure import measure
from .runner import ERRORS
from .schema import Settings, check


def jobs(overrides: list[str]) -> list[Settings]:
    """The settings of every job. Raises ConfigError, so that a mistake in the last job stops the first."""
    return [check(compose.compose(job)) for job in compose.sweep(overrides)]


def multirun(overrides: list[str]) -> int:
    """Runs every job; returns the exit code: 1 if a case ended in an error or a run is missing, else 0."""
    planned = jobs(overrides)
    import hydra

    folders = {settings.results for settings in planned}
    for folder in folders:
        store.make(folder)
    before = _run_folders(folders)
    compose.register()
    arguments, sys.argv = sys.argv, ["cellbench", "--multirun", *overrides]  # Hydra reads them there alone
    try:
        hydra.main(version_base="1.3", config_path=str(compose.folder()), config_name="config")(job)()
    except KeyboardInterrupt:
        return 130
    finally:
        sys.argv = arguments
    made = _run_folders(folders) - before
    statuses = {block["status"] for folder in made for block in store.read_blocks(folder) if block["done"]}
    return int(len(made) < len(planned) or bool(statuses & set(ERRORS)))


def _run_folders(parents: set[Path]) -> set[Path]:
    return {
        folder for parent in parents for folder in store.visible(parent) if (folder / store.MANIFEST).exists()
    }


def job(composed: Any) -> None:
    """One job of a multirun, where its launcher put it."""
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    config = OmegaConf.to_container(composed, resolve=True)
    assert isinstance(config, dict)
    settings = check({str(k): v for k, v in config.items()})
    if measure(settings, shlex.join(["cellbench", "run", *HydraConfig.get().overrides.task])) == 130:
        raise KeyboardInterrupt
