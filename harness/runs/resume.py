"""Whether an interrupted run may be gone on with: who made it, with what code, versions and machine."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from cellbench.cells.find import given_path

from .. import store
from ..screen import one_line
from ..store import code, manifest, packed, provenance
from . import values
from .compose import defaults
from .values import ConfigError


def interrupted(name: str, trust: bool) -> tuple[Path, dict[str, Any]]:
    """The folder of a run and its configuration, with nothing imported that it names.

    Raises ConfigError where a new measurement would not belong to the old ones, and for a run that this user
    did not make, unless it is trusted.
    """
    folder, manifest_ = found(name)
    config = manifest_.get("config")
    if not config:
        command = (manifest_.get("again") or {}).get("command")
        how = f"made by {command}: cellbench {command} resume={shlex.quote(name)}" if command else "imported"
        raise ConfigError(f"run {name} was {how}; there is nothing for `run` to go on with")
    same_commit(name, manifest_)
    values.shaped(config, defaults())
    if not manifest.is_ours(manifest_):
        _ask(name, config, trust)
    same(name, manifest_, config)
    return folder, config


def found(name: str) -> tuple[Path, dict[str, Any]]:
    """The folder of a run and its manifest. Raises ConfigError for a packed one."""
    folder = given_path(name)
    if pack := packed.of_run(folder):
        undo = f"cellbench pack --undo {shlex.quote(str(pack.folder))}"
        raise ConfigError(f"run {name} is packed, and a pack stays as it is; make it a folder again: {undo}")
    return folder, store.read_manifest(folder)


def same(name: str, manifest: dict[str, Any], config: dict[str, Any]) -> None:
    """Raises ConfigError where code, versions or machine are others than those of the run."""
    same_code(name, manifest, config)
    here = provenance.key(config.get("threads") or 1)
    if differs := provenance.differences(manifest.get("machine_key") or here, here):
        raise ConfigError(
            f"run {name} was made on another machine ({'; '.join(differs)}); go on with it there, or start a"
            " new run"
        )


def _ask(name: str, config: dict[str, Any], trust: bool) -> None:
    """Says what a run from elsewhere would run and write. Raises ConfigError unless it is trusted."""
    imports = ", ".join(f"{path} (sha256 {code.digest(path)})" for path in code.files_named(config).values())
    writes = config["probe"].get("training", {}).get("checkpoints")
    asked = one_line(f"it would import {imports or 'no file'}")
    if writes:
        asked += f", and write checkpoints to {writes!r}"
    if not trust:
        raise ConfigError(
            f"run {name} was not made by you on this machine; {asked}; look at it first, then go on with:"
            f" cellbench run resume={shlex.quote(name)} trust=true"
        )
    print(f"trusted: run {name} was not made by you on this machine; {asked}", flush=True)


def same_commit(name: str, found: dict[str, Any]) -> None:
    """Raises ConfigError where the commit is another than that of the run."""
    now, then = provenance.git().get("commit"), (found.get("git") or {}).get("commit")
    if now != then:
        raise ConfigError(
            f"run {name} was made by commit {then}, this is {now}; check that out, or start a new run"
        )


def same_code(name: str, found: dict[str, Any], config: Any) -> None:
    """Raises ConfigError where the code or a version is another than that of the run, or of the sweep."""
    if not found.get("code"):
        raise ConfigError(f"run {name} does not say its code (an older version made it); start a new run")
    if changed := code.changed(found["code"], code.digests(config)):
        raise ConfigError(
            f"run {name} was made with other code: {', '.join(changed)} changed since (was a cell's file"
            " changed?); put it back, or start a new run"
        )
    python = {"python": (found.get("machine") or {}).get("python")}
    versions = (found.get("versions") or {}) | python
    if differs := provenance.differences(versions, provenance.versions() | {"python": provenance.python()}):
        raise ConfigError(
            f"run {name} was made with other versions ({'; '.join(differs)}); install those, or start a new"
            " run"
        )
