"""The title of a page: what was measured on what, or where imported times come from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..screen import one_line
from ..store.imported import is_imported
from .frame import named, unique

MOST_NAMED = 4
# a machine's name in the keys of the tools, the most telling first
MACHINES = ("node", "hostname", "machine")


def title(cells: list[str], backends: list[str], manifests: list[dict[str, Any]]) -> str:
    """'gru and lstm on numba and native'; of imported runs alone 'Benchmarks of mine by asv on host'."""
    words = [named(cells, MOST_NAMED, "cells"), named(backends, MOST_NAMED, "backends")]
    if any(words) or not manifests or not all(map(is_imported, manifests)):
        return " on ".join(filter(None, words)) or "cellbench"
    return _imported(manifests)


def _imported(manifests: list[dict[str, Any]]) -> str:
    projects = _texts(_table(one, "git").get("project") for one in manifests)
    tools = _texts(name for one in manifests for name in _table(one, "versions"))
    machines = _texts(_machine(one) for one in manifests)
    parts = (
        ("of", named(projects, MOST_NAMED, "projects")),
        ("by", named(tools, MOST_NAMED, "tools")),
        ("on", named(machines, MOST_NAMED, "machines")),
    )
    return " ".join(["Benchmarks", *(f"{word} {names}" for word, names in parts if names)])


def _machine(manifest: dict[str, Any]) -> Any:
    key = _table(manifest, "machine_key")
    names = (key.get(name) for name in MACHINES)
    return next((name for name in names if name), _table(manifest, "machine").get("cpu"))


def _table(manifest: dict[str, Any], name: str) -> dict[str, Any]:
    value = manifest.get(name)
    return value if isinstance(value, dict) else {}


def _texts(values: Iterable[Any]) -> list[str]:
    return unique([one_line(value) for value in values if isinstance(value, str) and value])
