"""`cellbench run`: composes and checks everything, then measures. Also its multirun, and going on with an
interrupted run.
"""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .. import store
from ..cli import RUN_HELP
from ..runs import config
from ..runs.config import ConfigError, Settings
from ..runs.progress import Progress
from ..runs.runner import ERRORS, Runner, estimate_s
from ..store import provenance

FLAGS = ("--plan", "-m", "--multirun", "-h", "--help")


def run(arguments: list[str]) -> int:
    """Exit code of `cellbench run ARGUMENTS`."""
    flags, overrides = (
        [a for a in arguments if a.startswith("-")],
        [a for a in arguments if not a.startswith("-")],
    )
    for flag in flags:
        if flag not in FLAGS:
            raise ConfigError(
                f"unknown flag {flag!r}; flags of run: {', '.join(FLAGS)}. Everything else is KEY=VALUE"
            )
    if {"-h", "--help"} & set(flags):
        print(RUN_HELP)
        return 0
    resume = [o.partition("=")[2] for o in overrides if o.startswith("resume=")]
    if resume:
        return _resume(resume[0], [o for o in overrides if not o.startswith("resume=")], flags)
    overrides = [config.quoted(o) for o in overrides]
    if {"-m", "--multirun"} & set(flags):
        return _multirun(overrides, "--plan" in flags)
    settings = config.check(config.compose(overrides))
    if "--plan" in flags:
        return plan(settings)
    return measure(settings, shlex.join(["cellbench", "run", *overrides]))


def plan(settings: Settings) -> int:
    """Prints the cases and about how long they take."""
    for asked in settings.asked:
        for case in asked.cases:
            print(f"{case.id}  {case}")
    print(
        f"{sum(len(a.cases) for a in settings.asked)} cases, about {estimate_s(settings.asked) / 60:.1f} min"
        " on two slow cores"
    )
    return 0


def measure(settings: Settings, command: str) -> int:
    """A new run."""
    manifest = {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "config": settings.config,
        "git": provenance.git(),
        "versions": provenance.versions(),
        "machine": provenance.fingerprint(),
        "machine_key": provenance.key(settings.config["threads"]),
    }
    return _work(store.create(settings.results, manifest), settings, set())


def _work(writer: store.RunWriter, settings: Settings, done: set[str]) -> int:
    """Measures all but the cases that are done."""
    left = [
        replace(asked, cases=[case for case in asked.cases if case.id not in done])
        for asked in settings.asked
    ]
    progress = Progress(estimate_s(left))
    runner = Runner(writer, progress, settings.case_timeout_s, settings.budget_s, done)
    try:
        code = runner.run(settings.asked)
    except KeyboardInterrupt:
        code = 130
    finally:
        progress.close()
        writer.close()
    if code == 130:
        print(
            f"interrupted; go on with: cellbench run resume={shlex.quote(str(writer.folder))}",
            file=sys.stderr,
        )
    counts = {s: list(runner.statuses.values()).count(s) for s in dict.fromkeys(runner.statuses.values())}
    print(", ".join(f"{n} {status}" for status, n in counts.items()) or "nothing left to measure")
    print(f"run: {writer.folder}  (page: cellbench report {shlex.quote(str(writer.folder))})")
    return code


def _resume(name: str, others: list[str], flags: list[str]) -> int:
    if others or flags:
        raise ConfigError(
            f"resume takes its configuration from the run; leave out {' '.join([*others, *flags])}"
        )
    folder = Path(name).expanduser()
    manifest = store.read_manifest(folder)
    now, then = provenance.git().get("commit"), manifest.get("git", {}).get("commit")
    if now != then:
        raise ConfigError(
            f"run {name} was made by commit {then}, this is {now}; check that out, or start a new run"
        )
    if not manifest["config"]:
        raise ConfigError(f"run {name} was imported; there is nothing to go on with")
    settings = config.check(manifest["config"])
    here = provenance.key(settings.config["threads"])
    if differs := provenance.differences(manifest.get("machine_key") or here, here):
        raise ConfigError(
            f"run {name} was made on another machine ({'; '.join(differs)}); go on with it there, or start a"
            " new run"
        )
    writer, ended = store.reopen(folder)
    asked = {case.id for asked in settings.asked for case in asked.cases}
    if foreign := set(ended) - asked:
        writer.release()
        raise ConfigError(
            f"run {name} has {len(foreign)} cases that are no longer asked for (was a cell's file changed?);"
            " start a new run"
        )
    print(going_on(ended, len(asked)))
    return _work(writer, settings, {case for case, status in ended.items() if status == "ok"})


def going_on(ended: dict[str, str], asked: int) -> str:
    """What is done of an interrupted run, and what is measured again: '3 of 9 cases are done; again: 1
    crashed; 5 left'.
    """
    again = Counter(status for status in ended.values() if status != "ok")
    said = f"; again: {', '.join(f'{n} {status}' for status, n in again.items())}" if again else ""
    return f"{len(ended) - again.total()} of {asked} cases are done{said}; {asked - len(ended)} left"


def _multirun(overrides: list[str], planning: bool) -> int:
    """Checks every job first, then lets Hydra's launcher carry them."""
    jobs = [config.check(config.compose(job)) for job in config.sweep(overrides)]
    if planning:
        return max(plan(settings) for settings in jobs)
    import hydra

    folders = {settings.results for settings in jobs}
    for folder in folders:
        store.make(folder)
    before = _run_folders(folders)
    config.register()
    arguments, sys.argv = sys.argv, ["cellbench", "--multirun", *overrides]
    try:
        hydra.main(version_base="1.3", config_path=str(config.folder()), config_name="config")(job)()
    except KeyboardInterrupt:
        return 130
    finally:
        sys.argv = arguments
    made = _run_folders(folders) - before
    statuses = {block["status"] for folder in made for block in store.read_blocks(folder) if block["done"]}
    return int(len(made) < len(jobs) or bool(statuses & set(ERRORS)))


def _run_folders(parents: set[Path]) -> set[Path]:
    return {
        folder for parent in parents for folder in store.visible(parent) if (folder / store.MANIFEST).exists()
    }


def job(composed: Any) -> None:
    """One job of a multirun, where its launcher put it."""
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    plain = OmegaConf.to_container(composed, resolve=True)
    assert isinstance(plain, dict)
    settings = config.check({str(k): v for k, v in plain.items()})
    if measure(settings, shlex.join(["cellbench", "run", *HydraConfig.get().overrides.task])) == 130:
        raise KeyboardInterrupt
