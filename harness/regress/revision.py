"""A revision of the package `cells`, taken out of git and imported beside the one of this process."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import tarfile
from pathlib import Path
from types import ModuleType

from cellbench import cells
from cellbench.cells.find import module_of


class RevisionError(ValueError):
    """A revision cannot be had; the message names it."""


def top() -> Path:
    """The checkout with the package `cells`. Raises RevisionError for an installed package."""
    folder = Path(cells.__file__).resolve().parent.parent
    if git(folder, "ls-files", "--error-unmatch", "cells/__init__.py") is None:
        raise RevisionError(
            "cellbench's own revisions are compared in a git checkout of it, and this package lies in none;"
            " of your repository name the cells: 'cells=[path/to/file.py:Name]'"
        )
    return folder


def commit(name: str, folder: Path, option: str = "base") -> str:
    """The full hash of a revision. Raises RevisionError for an unknown one, as it was given: option=name."""
    hash_ = git(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    if hash_ is None:
        raise RevisionError(
            f"{option}={name} is no revision of {folder}; give a branch, a tag or a commit (fetch it first in"
            " a shallow clone)"
        )
    return hash_.decode().strip()


def take_out(hash_: str, folder: Path, target: Path, package: str | None = "cells") -> Path:
    """Writes the files of a commit below target; returns their folder.

    Raises RevisionError where they lack the package.

    Links inside the repository are kept, for the packages below src are such links. A link that leads out of
    it is left out, as is what .gitattributes marks export-ignore.
    """
    archive = git(folder, "archive", "--format=tar", hash_)
    if archive is None:
        raise RevisionError(f"git archive {hash_} failed in {folder}")
    place = target / hash_[:12]
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(place, filter=_within)
    if package and not (place / package / "__init__.py").exists():
        raise RevisionError(f"revision {hash_[:12]} has no package {package} to compare with")
    return place


def _within(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo | None:
    try:
        return tarfile.data_filter(member, folder)
    except (tarfile.LinkOutsideDestinationError, tarfile.AbsoluteLinkError):
        return None


def library(root: str | None) -> ModuleType:
    """The package `cells` of a revision's folder, imported under a name of its own; None is this process's.

    Every layout so far has it in the folder `cells` at the top, whether it is imported as `cellbench.cells`,
    by way of a link below src, or was imported as `cells`. Inside it imports are relative: any name will do.
    """
    if root is None:
        return cells
    name = f"cells_{hashlib.sha256(root.encode()).hexdigest()[:8]}"
    file = Path(root) / "cells" / "__init__.py"
    if not file.is_file() and name not in sys.modules:
        raise RevisionError(f"{root} has no package cells to compare with")
    return module_of(file, name)


def git(folder: Path, *arguments: str) -> bytes | None:
    """The output of a git command; None where it fails."""
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, check=False)
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None
