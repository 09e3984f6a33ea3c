"""What a run was made with: the environment, the configuration and the command of each manifest."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from typing import Any

from ..screen import one_line
from .table import Entry, Table
from .units import digits, quantity


def environment(manifests: list[dict]) -> Table:
    """Whatever the manifests say besides command and configuration, a column for each run."""
    kept = [{k: v for k, v in manifest.items() if k not in ("command", "config")} for manifest in manifests]
    return _side_by_side("Environment", kept, manifests)


def configuration(manifests: list[dict]) -> Table:
    """The resolved configuration of each run."""
    return _side_by_side("Configuration", [manifest.get("config") or {} for manifest in manifests], manifests)


def _side_by_side(heading: str, trees: list[dict], manifests: list[dict]) -> Table:
    flat = [dict(_leaves(tree)) for tree in trees]
    names = list(dict.fromkeys(name for leaves in flat for name in leaves))
    header = [_run(manifest, i) for i, manifest in enumerate(manifests)]
    rows = tuple((Entry(name), *[Entry(leaves.get(name, "–")) for leaves in flat]) for name in names)
    return Table(heading, ("name", *header), rows)


def _run(manifest: dict, index: int) -> str:
    return one_line(manifest.get("run") or f"run {index + 1}")


def _leaves(tree: Any, path: str = "") -> Iterable[tuple[str, str]]:
    """('git.commit', '1a2b') for every leaf of a nested dict; a list of plain values is one leaf."""
    if isinstance(tree, dict) and tree:
        for name, value in tree.items():
            yield from _leaves(value, f"{path}.{one_line(name)}" if path else one_line(name))
    elif tree == {} and not path:
        return
    elif isinstance(tree, list | tuple) and any(isinstance(value, dict) for value in tree):
        for i, value in enumerate(tree):
            yield from _leaves(value, f"{path}[{i}]")
    elif isinstance(tree, list | tuple):
        yield path, ", ".join(map(_plain, tree)) or "none"
    else:
        yield path, _size(path, tree)


def _plain(value: Any) -> str:
    if value is None or value == {}:
        return "none"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else one_line(value)


def _size(path: str, value: Any) -> str:
    """A leaf as text; bytes also in the unit that a person reads."""
    if path.endswith("_bytes") and isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:,.0f} ({quantity(float(value), 'B')})"
    return _plain(value) if not isinstance(value, float) else digits(value)


def command(manifest: dict[str, Any]) -> list[str]:
    """The exact command line of a run; a list is quoted as a shell would need it."""
    line = manifest.get("command")
    if not line:
        return []
    return [shlex.join(map(one_line, line)) if isinstance(line, list | tuple) else one_line(line)]
