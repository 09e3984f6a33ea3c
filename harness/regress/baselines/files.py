"""Baselines on disk: one JSON file a cell, keys sorted, numbers with as many digits as are compared."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...store import atomic, files

SCHEMA = 1
FOLDER = Path("results/baselines")
GROUPS = ("allocations", "counts", "error", "kernel", "loss", "rate")
PACKAGES = ("numba", "numpy", "torch")


class BaselineError(ValueError):
    """A baseline cannot be used; the message names the file."""


@dataclass(frozen=True)
class Baseline:
    """The recorded facts of a cell, by group, and the versions (major.minor) they were made with."""

    cell: str
    made_with: dict[str, str]
    groups: dict[str, dict[str, Any]]


def versions() -> dict[str, str]:
    """Major and minor version of Python and of the packages whose release may change a recorded number."""
    installed = {"python": platform.python_version()} | {
        name: importlib.metadata.version(name) for name in PACKAGES
    }
    return {name: ".".join(version.split(".")[:2]) for name, version in installed.items()}


def read(folder: Path, cells: Iterable[str] = ()) -> dict[str, Baseline]:
    """The baselines of a folder by cell, of these cells alone if any are named.

    Empty where there is no folder.

    Raises BaselineError for a file that is damaged, foreign, or of another schema.
    """
    if not folder.exists():
        return {}
    wanted = set(cells)
    paths = [
        p
        for p in sorted(folder.iterdir())
        if (not wanted or p.stem in wanted) and not p.name.startswith(".")  # hidden: what a kill left
    ]
    return {path.stem: _read(path) for path in paths}


def _read(path: Path) -> Baseline:
    if path.suffix != ".json":
        raise BaselineError(f"{path} is no baseline, which is CELL.json; remove it")
    try:
        content = files.parse(files.read(path))
    except (OSError, ValueError) as error:
        raise BaselineError(
            f"{path} is damaged ({error}); `nox -s baselines` after removing it makes it anew"
        ) from None
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise BaselineError(
            f"{path} is not of schema {SCHEMA}, which this version reads; remove it and run `nox -s"
            " baselines`"
        )
    if content.get("cell") != path.stem:
        raise BaselineError(
            f"{path} is the baseline of cell {content.get('cell')!r}; it must have that cell's name"
        )
    made_with, groups = content.get("made_with"), {name: content.get(name) for name in GROUPS}
    bad = [
        name
        for name, group in {"made_with": made_with, **groups}.items()
        if not isinstance(group, dict) or not group
    ]
    if bad or not isinstance(made_with, dict):
        raise BaselineError(
            f"{path} is damaged: it has no {', '.join(bad)}; remove it and run `nox -s baselines`"
        )
    return Baseline(path.stem, made_with, groups)  # type: ignore[arg-type]


def write(folder: Path, baseline: Baseline) -> None:
    """Writes the cell's file, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {"schema": SCHEMA, "cell": baseline.cell, "made_with": baseline.made_with, **baseline.groups}
    atomic.write_json(folder / f"{baseline.cell}.json", content, exact=True, sort_keys=True)


def remove(folder: Path, cell: str) -> None:
    (folder / f"{cell}.json").unlink()
