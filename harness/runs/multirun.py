"""Hydra's multirun: a run for each combination of swept values, carried by Hydra's launcher."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .. import store
from . import compose
from . import measure as measuring
from .measure import measure
from .resume import interrupted
from .schema import Settings, check


def jobs(overrides: list[str]) -> list[Settings]:
    """The settings of every job. Raises ConfigError, so that a mistake in the last job stops the first."""
    return [check(compose.compose(job)) for job in compose.sweep(overrides)]


def multirun(overrides: list[str]) -> int:
    """Runs every job; returns the exit code: 1 if a case ended in an error or a run is missing, else 0."""
    planned = jobs(overrides)
    folders = {settings.results for settings in planned}
    for folder in folders:
        store.make(folder)
    before = _run_folders(folders)
    if not _launched(job, overrides):
        return 130
    made = _run_folders(folders) - before
    return int(len(made) < len(planned) or _has_errors(made))


def resume(name: str, trust: bool, launcher: str) -> int:
    """Goes on with a run where Hydra's launcher puts it; returns the exit code, 1 if a case has no end."""
    folder, _ = interrupted(name, trust)  # refused here, before a job is sent away
    given = "'" + str(folder.resolve()).replace("\\", "\\\\").replace("'", "\\'") + "'"
    if not _launched(resume_job, [launcher, f"+resume={given}", f"+trust={str(trust).lower()}"]):
        return 130
    return int(_has_errors({folder}))


def _launched(function: Callable[[Any], None], overrides: list[str]) -> bool:
    """Has Hydra's launcher run the function for each combination; False where it was interrupted."""
    import hydra

    compose.register()
    arguments, sys.argv = sys.argv, ["cellbench", "--multirun", *overrides]  # Hydra reads them there alone
    try:
        hydra.main(version_base="1.3", config_path=str(compose.folder()), config_name="config")(function)()
    except KeyboardInterrupt:
        return False
    finally:
        sys.argv = arguments
    return True


def _has_errors(folders: set[Path]) -> bool:
    statuses = {block["status"] for folder in folders for block in store.read_blocks(folder) if block["done"]}
    return bool(statuses & set(store.ERRORS))


def _run_folders(parents: set[Path]) -> set[Path]:
    return {
        folder for parent in parents for folder in store.visible(parent) if (folder / store.MANIFEST).exists()
    }


def resume_job(composed: Any) -> None:
    """The job of a run that is gone on with."""
    if measuring.resume(composed["resume"], composed["trust"]) == 130:
        raise KeyboardInterrupt


def job(composed: Any) -> None:
    """One job of a multirun, where its launcher put it."""
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    config = OmegaConf.to_container(composed, resolve=True)
    assert isinstance(config, dict)
    settings = check({str(k): v for k, v in config.items()})
    if measure(settings, shlex.join(["cellbench", "run", *HydraConfig.get().overrides.task])) == 130:
        raise KeyboardInterrupt
