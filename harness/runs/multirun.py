"""Sweeps: a run for each combination of swept values, carried by Hydra's launcher."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .. import store
from ..screen import one_line, tell
from ..store import code, provenance, sweeps
from ..store import manifest as manifests
from ..store.sweeps import Sweep, launches
from . import cancel, compose, launch, live, places, pruning, search, values
from . import measure as measuring
from .groups import estimate_s
from .job import job, job_id, trial
from .resume import interrupted, same_code, same_commit
from .schema import Settings, check
from .values import ConfigError


def planned(overrides: list[str], primary: str = "config") -> list[Settings]:
    """The settings of every job. Raises ConfigError, so that a mistake in the last job stops the first.

    Two jobs that are the same are a mistake.
    """
    settings = [check(compose.compose(job, primary)) for job in compose.sweep(overrides)]
    pruning.refuse(settings[0])
    ids = [job_id(one.config) for one in settings]
    if twice := next((n for n, one in enumerate(ids) if one in ids[:n]), None):
        raise ConfigError(
            f"jobs {ids.index(ids[twice])} and {twice} of the sweep are the same; name each value once"
        )
    return settings


def begin(overrides: list[str], command: str, primary: str = "config") -> Sweep:
    """A new sweep on disk, with every job checked, and nothing launched."""
    launch.available(overrides)
    sweeper = launch.chosen(launch.SWEEPER, overrides)
    swept, fixed = compose.swept(overrides)
    if sweeper == sweeps.BASIC:
        overrides = compose.with_files(overrides, primary)
        swept, fixed = compose.swept(overrides)
        settings = planned(overrides, primary)
        jobs = _jobs(compose.sweep(overrides), settings)
        direction = {}
    else:
        settings, jobs, fixed = [search.first_trial(overrides, primary)], [], overrides
        sweeping = search.sweeper_of(overrides, primary)
        pruned = settings[0].config["pruner"] is not None
        direction = {"direction": search.direction(sweeping)} if pruned else {}
    results = settings[0].results
    store.make(results)
    asked = {
        "command": command,
        "sweeper": sweeper,
        "swept": swept,
        "given": fixed,
        "primary": primary,
        "folders": [str(folder.resolve()) for folder in places.users()],
        "jobs": jobs,
        "estimates_s": [estimate_s(one.probes) for one in settings] if jobs else [],
    }
    made = provenance.origin() | {"code": code.digests([one.config for one in settings])}
    return sweeps.create(results, made | asked | direction)


def again(folder: Path, trust: bool, launcher: list[str]) -> tuple[Sweep, list[str]]:
    """A sweep that is gone on with, and the overrides that hold for all jobs.

    `launcher` are overrides of the launcher and of its settings. Raises ConfigError for a sweep that this
    user did not make, unless it is trusted, and where code, versions or commit are others than those of its
    runs.
    """
    sweep = sweeps.read(folder)
    if sweep.searched:
        raise ConfigError(
            f"sweep {folder} is a search of {sweep.manifest['sweeper']}, which chooses its jobs as it goes;"
            " go on with one of its runs, resume=RUN, or search anew; hydra.sweeper.storage keeps a study"
        )
    launch.available(launcher)
    same_commit(str(folder), sweep.manifest)
    for one in sweep.jobs:
        values.shaped(one.config, compose.defaults())
    if not manifests.is_ours(sweep.manifest, sweeps.PURPOSE):
        asked(sweep, trust)
    same_code(str(folder), sweep.manifest, [job.config for job in sweep.jobs])
    places.give_also(sweep.manifest.get("folders", []))
    given = _given(sweep.manifest["given"], launcher)
    if launcher:
        compose.composed(given, sweep.manifest["primary"])
    return sweep, given


def _given(before: list[str], launcher: list[str]) -> list[str]:
    """Overrides with those of the launcher anew; another launcher takes nothing over of the one before.

    Raises ConfigError for several values of a key.
    """
    launcher = [compose.quoted(override) for override in launcher]
    compose.swept(launcher)
    keys = {_key(override) for override in launcher}
    of_launcher = (launch.GROUP, "hydra.launcher")
    kept = [o for o in before if launch.GROUP not in keys or not _key(o).startswith(of_launcher)]
    return [*(o for o in kept if _key(o) not in keys), *launcher]


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+")


def asked(sweep: Sweep, trust: bool) -> None:
    """Says what a sweep from elsewhere would import. Raises ConfigError unless it is trusted."""
    files = {
        str(path): code.digest(path) for job in sweep.jobs for path in code.files_named(job.config).values()
    }
    imports = ", ".join(f"{path} (sha256 {digest})" for path, digest in files.items()) or "no file"
    words = one_line(
        f"sweep {sweep.folder} was not made by you on this machine; it would import {imports}, and launch"
        f" with {' '.join(sweep.manifest['given']) or 'nothing else'}"
        f", and read the YAML files of {', '.join(sweep.manifest.get('folders', [])) or 'no folder'}"
    )
    if not trust:
        raise ConfigError(
            f"{words}; look at it first, then go on with: cellbench run"
            f" resume={shlex.quote(str(sweep.folder))} trust=true"
        )
    tell(f"trusted: {words}")


def _jobs(overrides: list[list[str]], settings: list[Settings]) -> list[dict[str, Any]]:
    """The jobs' entries."""
    each = zip(overrides, settings, strict=True)
    return [{"id": job_id(one.config), "overrides": given, "config": one.config} for given, one in each]


def carry(sweep: Sweep, given: list[str]) -> bool:
    """Has the launcher do the jobs that are not done; False where it was interrupted.

    `given` are overrides that hold for all jobs, with those of the launcher.
    """
    own = [
        f"hydra.sweep.dir={launch.quoted(sweep.folder / 'hydra')}",
        f"+sweep={launch.quoted(sweep.folder)}",
        f"+digest='{sweeps.digest(sweep.folder)}'",
    ]
    function: Callable[[Any], object] = trial
    left = None
    if not sweep.searched:
        left = [n for n, record in enumerate(sweep.records()) if record.state != "done"]
        if not left:
            return True
        function = job
        # those of the sweeper's parameters are among the jobs
        own += ["hydra.sweeper.params=null", f"+job={','.join(map(str, left))}"]
    primary = sweep.manifest["primary"]
    launcher = launch.launcher(given, primary)
    if launcher in launch.SIDE_BY_SIDE and (words := disturbed(sweep, left)):
        tell(words)
    told, shielded = live.told(sweep, launcher != "basic"), cancel.shielded(launcher == "submitit_local")
    if launch.chosen(launch.SWEEPER, given) == "optuna":
        pruning.quieten()
    with sweep.launching():
        launches.add(sweep.folder, launcher, left)
        with told, shielded:
            return launch.launched(function, [*given, *own], primary, lambda: cancel.end_below(sweep))


def disturbed(sweep: Sweep, jobs: list[int] | None) -> str:
    """A line on jobs that time while others run beside them; nothing where there are none of that kind."""
    if jobs is None or len(jobs) < 2:
        return ""
    timed = [one.probe.name for one in check(sweep.jobs[jobs[0]].config).probes if one.probe.timed]
    words = (
        f"{', '.join(timed)}: jobs that run side by side disturb each other's times, and cases without a core"
        f" are skipped; {launch.GROUP}=basic times one after the other, and a cluster's exclusive gives each"
        " job a node"
    )
    return words if timed else ""


def best(sweep: Sweep) -> str:
    """What a search that came to its end found best, in a line; nothing for another sweep."""
    path = sweep.folder / "hydra" / "optimization_results.yaml"
    if not sweep.searched or not path.is_file():
        return ""
    from omegaconf import OmegaConf

    found = OmegaConf.to_container(OmegaConf.load(path))
    assert isinstance(found, dict)
    keys = [f"{key}={value}" for key, value in found.get("best_params", {}).items()]
    value = found.get("best_value")
    shown = f"{value:.3g}" if isinstance(value, float) else str(value)
    return f"best: {' '.join(keys)}, with {_objective(sweep)}{shown}{_early(sweep, keys)}" if keys else ""


def _early(sweep: Sweep, values: list[str]) -> str:
    """Says so where the jobs of these values were all pruned: theirs is the value when that happened."""
    those = [r for job, r in zip(sweep.jobs, sweep.records(), strict=False) if {*values} <= {*job.overrides}]
    return ", when it was pruned" if those and all("pruned" in r.cases for r in those) else ""


def _objective(sweep: Sweep) -> str:
    """What the search searched by, as 'throughput.seconds = '."""
    jobs = sweep.jobs
    return f"{jobs[0].config['objective']} = " if jobs else ""


def exit_code(sweep: Sweep) -> int:
    """1 where a job has not measured all of its cases, or a case ended in an error."""
    records = sweep.records()
    return int(any(r.state != "done" or set(r.cases) & set(store.ERRORS) for r in records))


def resume(name: str, trust: bool, launcher: list[str]) -> int:
    """Goes on with a run where Hydra's launcher puts it; returns the exit code, 1 if a case has no end."""
    launcher = _given([], launcher)
    if not any(_key(override) == launch.GROUP for override in launcher):
        raise ConfigError(f"{launcher[0]} is for a launcher; add {launch.GROUP}=NAME, or leave it out")
    launch.available(launcher)
    compose.composed(launcher)
    folder, _ = interrupted(name, trust)  # refused here, before a job is sent away
    given = [f"+resume={launch.quoted(folder)}", f"+trust={str(trust).lower()}"]
    given.append(f"hydra.sweep.dir={launch.quoted(folder.parent / sweeps.FOLDER / 'hydra')}")
    if not launch.launched(resume_job, [*launcher, *given]):
        return 130
    return int(_has_errors(folder))


def resume_job(composed: Any) -> None:
    """The job of a run that is gone on with."""
    if measuring.resume(composed["resume"], composed["trust"]) == 130:
        raise KeyboardInterrupt


def _has_errors(folder: Path) -> bool:
    last = {block["case"]: block["status"] for block in store.read_blocks(folder) if block["done"]}
    return bool(set(last.values()) & set(store.ERRORS))
