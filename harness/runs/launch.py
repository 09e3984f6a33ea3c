"""Functions carried by Hydra's launchers, and how that ended in one line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .. import extras
from ..store.sweeps import BASIC, launches
from . import compose, places
from . import job as jobs
from .values import ConfigError

LINE = 300  # characters of what a launcher says
GROUP, SWEEPER = "hydra/launcher", "hydra/sweeper"
# of launchers and of sweepers, by their names: what it does, and the package that brings it
PLUGINS: dict[str, dict[str, tuple[str, str | None]]] = {
    GROUP: {
        "basic": ("here, one job after the other", None),
        "joblib": ("here, side by side", "hydra_plugins.hydra_joblib_launcher"),
        "ray": ("here or in a Ray cluster", "hydra_plugins.hydra_ray_launcher"),
        "submitit_local": (
            "here, each job in a process of its own",
            "hydra_plugins.hydra_submitit_launcher",
        ),
        "submitit_slurm": ("on the nodes of a Slurm cluster", "hydra_plugins.hydra_submitit_launcher"),
    },
    SWEEPER: {
        "basic": ("goes through every combination", None),
        "optuna": ("searches by objective=PROBE.METRIC", "hydra_plugins.hydra_optuna_sweeper"),
    },
}
SIDE_BY_SIDE = ("joblib", "ray", "submitit_local")  # where the jobs of one machine run at the same time
# by the class of a launcher, what Hydra calls it, whatever a file of the user's calls it
CLASSES = {
    "hydra._internal.core_plugins.basic_launcher.BasicLauncher": "basic",
    "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher": "joblib",
    "hydra_plugins.hydra_ray_launcher.ray_launcher.RayLauncher": "ray",
    "hydra_plugins.hydra_submitit_launcher.submitit_launcher.LocalLauncher": "submitit_local",
    "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher": launches.SLURM,
}
FILES_OF_SUBMITIT = f"${{hydra.sweep.dir}}/{launches.FOLDER}/%j"  # where they are looked for


def available(overrides: list[str]) -> None:
    """Raises PackageMissing where the package of a launcher or a sweeper is not installed."""
    for override in overrides:
        key, _, name = override.partition("=")
        _, package = PLUGINS.get(key, {}).get(name, ("", None))
        if package:
            extras.requires(package, f"{override} needs")


def installed(group: str) -> list[str]:
    """The names that a launcher or a sweeper can be chosen by: of installed packages, and of files.

    Nothing of Hydra is imported, and so none that a package registers and PLUGINS has not.
    """
    there = [name for name, (_, package) in PLUGINS[group].items() if not package or extras.there(package)]
    return [*there, *(name for name in places.files(group) if name not in there)]


def launcher(overrides: list[str], primary: str) -> str:
    """What Hydra calls the launcher that overrides choose; its class where that is none of those known.

    Raises ConfigError.
    """
    from omegaconf import OmegaConf

    composed = compose.composed(compose.first(overrides), primary)
    settings = OmegaConf.to_container(composed.hydra.launcher, resolve=False)
    assert isinstance(settings, dict)
    target = str(settings.get("_target_"))
    name = CLASSES.get(target, target)
    elsewhere = name == launches.SLURM and settings.get("submitit_folder") != FILES_OF_SUBMITIT
    return launches.ELSEWHERE if elsewhere else name


def chosen(group: str, overrides: list[str]) -> str:
    """What a group of Hydra's is set to."""
    names = [o.partition("=")[2] for o in overrides if o.partition("=")[0] == group]
    return names[-1] if names else BASIC


def launched(
    function: Callable[[Any], object],
    overrides: list[str],
    primary: str = "config",
    interrupted: Callable[[], object] = lambda: None,
) -> bool:
    """Has Hydra's launcher call the function for each combination; False where it was interrupted.

    `interrupted` is called then, before the launcher's processes are ended. Raises ConfigError where the
    launcher fails.
    """
    import hydra

    compose.register()
    arguments, sys.argv = sys.argv, ["cellbench", "--multirun", *overrides]  # Hydra reads them there alone
    told = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises what it would print
    jobs.in_launcher = True
    try:
        hydra.main(version_base="1.3", config_path=str(places.own()), config_name=primary)(function)()
    except KeyboardInterrupt:
        interrupted()
        return False
    except ConfigError:
        raise
    except Exception as error:
        # what follows the first line may be all that a job has printed
        text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")[:LINE]
        raise ConfigError(f"the launcher has failed: {type(error).__name__}: {text}") from error
    finally:
        jobs.in_launcher = False
        sys.argv = arguments
        _restore("HYDRA_FULL_ERROR", told)
        _end_pool()
    return True


def shown(arguments: list[str], primary: str) -> int:
    """Has Hydra print what its flags ask for; returns the exit code."""
    import hydra

    compose.register()
    before, sys.argv = sys.argv, ["cellbench", *arguments]
    try:
        hydra.main(version_base="1.3", config_path=str(places.own()), config_name=primary)(_nothing)()
    except SystemExit as ended:
        return int(bool(ended.code))
    finally:
        sys.argv = before
    return 0


def _nothing(composed: Any) -> None:
    """Stands for a job where nothing is run."""


def _restore(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


def _end_pool() -> None:
    """Ends the processes that joblib keeps for later, and the thread that waits for them."""
    loky = sys.modules.get("joblib.externals.loky")
    if loky is not None and "hydra_plugins.hydra_joblib_launcher" in sys.modules:
        loky.get_reusable_executor().shutdown(wait=True, kill_workers=True)


def quoted(path: Path) -> str:
    """A path as a value in Hydra's grammar."""
    return "'" + str(path.resolve()).replace("\\", "\\\\").replace("'", "\\'") + "'"
