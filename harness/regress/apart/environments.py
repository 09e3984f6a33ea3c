"""The dependencies of a revision: whether two ask for the same, and an environment with those of one."""

from __future__ import annotations

import fcntl
import hashlib
import re
import shutil
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_dir

from ...measure import worker
from ..revision import RevisionError

INSTALL_S = 1800
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class NoEnvironment(Exception):
    """An environment cannot be made; the message is one line. No bad input: the comparison cannot tell."""


@dataclass(frozen=True)
class Environment:
    """The python to run with, and a folder where what it compiles is kept apart from others'."""

    python: Path
    cache: Path


def different_dependencies(root_a: Path, root_b: Path) -> str | None:
    """The dependencies that differ between two revisions, as one line; None where none does.

    Compared are the requirements of pyproject.toml, and for each of these packages the line of
    constraints.txt.

    Pins of packages that are only required by those are not looked at. Raises RevisionError for an unreadable
    pyproject.toml.
    """
    a, b = required(root_a), required(root_b)
    differ = [
        f"{' '.join(a.get(n, ['none']))} -> {' '.join(b.get(n, ['none']))}"
        for n in sorted(a | b)
        if a.get(n) != b.get(n)
    ]
    more = f", and {len(differ) - 3} more" if len(differ) > 3 else ""
    return f"the dependencies differ: {', '.join(differ[:3])}{more}" if differ else None


def required(root: Path) -> dict[str, list[str]]:
    """The requirements and the constraints of each package."""
    lines: dict[str, list[str]] = {}
    for line in requirements(root):
        lines.setdefault(package_of(line), []).append(line.replace(" ", ""))
    for line in constraints(root):
        if package_of(line) in lines:
            lines[package_of(line)].append(line.replace(" ", ""))
    return lines


def requirements(root: Path) -> list[str]:
    """project.dependencies of a revision's pyproject.toml."""
    try:
        return list(
            tomllib.loads((root / "pyproject.toml").read_text(encoding="utf8"))["project"].get(
                "dependencies", []
            )
        )
    except (OSError, KeyError, ValueError) as error:
        raise RevisionError(
            f"{root / 'pyproject.toml'} cannot be read for project.dependencies: {error}"
        ) from None


def constraints(root: Path) -> list[str]:
    """The lines of a revision's constraints.txt without comments; none where there is no such file."""
    path = root / "constraints.txt"
    lines = path.read_text(encoding="utf8").splitlines() if path.exists() else []
    return [line for line in (re.sub(r"(^|\s)#.*", "", line).strip() for line in lines) if line]


def package_of(requirement: str) -> str:
    """The package's name as PyPI compares it; the whole line where there is none."""
    name = NAME.match(requirement)
    return re.sub(r"[-_.]+", "-", name[0]).lower() if name else requirement


def environment(root: Path, folder: Path | None = None) -> Environment:
    """The environment for a revision, below the folder (default: the user's cache).

    One that was made for the same text is used again.

    Raises NoEnvironment. Two that want the same one at once wait for each other.
    """
    wanted, pins = requirements(root), constraints(root)
    key = hashlib.sha256("\n".join([sys.version, sys.prefix, *wanted, "", *pins]).encode()).hexdigest()[:16]
    place = (folder or Path(user_cache_dir("cellbench")) / "environments") / key
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (place / "installed").exists():  # one without it was cut off half way
                shutil.rmtree(place, ignore_errors=True)
                make(place, wanted, pins)
    except OSError as error:
        raise NoEnvironment(f"no environment can be made in {place}: {error}") from None
    return Environment(place / "bin" / "python", place / "kernels")


def make(place: Path, wanted: list[str], pins: list[str]) -> None:
    """A fresh environment with the packages wanted."""
    done_by(sys.executable, "-m", "venv", str(place))
    (place / "constraints.txt").write_text("\n".join(pins) + "\n")
    pip = (str(place / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--no-input")
    if wanted:
        done_by(*pip, "install", "--quiet", "-c", str(place / "constraints.txt"), "--", *wanted)
    (place / "installed").touch()


def done_by(*command: str) -> None:
    """Runs a command. Raises NoEnvironment with the first error that it prints."""
    done = worker.run(command, timeout_s=INSTALL_S)
    if done.returncode is None:
        raise NoEnvironment(f"`{' '.join(command[1:5])} ...` took more than {INSTALL_S} s")
    if done.returncode:
        printed = (done.stderr + b"\n" + done.stdout).decode(errors="replace").strip()
        lines = printed.splitlines() or [f"exit code {done.returncode}"]
        raise NoEnvironment(
            next((line for line in lines if line.startswith("ERROR")), lines[-1]).strip()[:300]
        )
