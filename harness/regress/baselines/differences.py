"""A cell's facts against its baseline: what differs by more than another machine's last digits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cellbench.cells.programs.tolerance import tolerance

from ..outputs.grid import grid
from .facts import STEPS
from .files import Baseline

RELATIVE = (
    1e-6  # of rates and losses, which are float64: other BLAS and vector units change them by about 1e-13
)
DIGITS = {"error": 2, "rate": 9, "loss": 9}  # that are recorded
# Allocations depend on how the interpreter and the libraries go about it, losses and rates on their random
# numbers
DEPEND_ON = {
    "allocations numpy": ("python", "numpy"),
    "allocations numba": ("python", "numpy", "numba"),
    "rate": ("numpy",),
    "loss": ("numpy", "torch"),
}
Leaves = dict[str, Any]


@dataclass(frozen=True)
class Difference:
    """A number that differs, as it was and as it is; for information alone unless it is `red`."""

    cell: str
    what: str
    old: str
    new: str
    red: bool = True


@dataclass(frozen=True)
class Compared:
    """How many numbers were compared, which differ, and why some have no baseline here."""

    count: int
    differences: tuple[Difference, ...]
    without: tuple[str, ...] = ()


def compare(baseline: Baseline, facts: Mapping[str, Any], made_with: Mapping[str, str]) -> Compared:
    """Everything recorded against everything found. A number on one side alone is a difference."""
    old, new = leaves(baseline.groups), leaves(rounded(facts))
    differences, without, count = [], [], 0
    for name in sorted(old.keys() | new.keys()):
        before, now = old.get(name), new.get(name)
        if name.startswith("kernel "):
            if before != now:
                differences.append(Difference(baseline.cell, name, *shown(before, now), red=False))
        elif reason := no_baseline(name, baseline.made_with, made_with, now):
            without.append(reason)
        else:
            count += 1
            if not alike(name, before, now):
                differences.append(Difference(baseline.cell, name, *shown(before, now)))
    return Compared(count, tuple(differences), tuple(dict.fromkeys(without)))


def renewed(baseline: Baseline | None, facts: Mapping[str, Any], here: Mapping[str, str]) -> dict[str, Any]:
    """The facts, with the recorded number wherever it still holds.

    So a renewal on another machine changes no last digits.
    """
    if baseline is None:
        return rounded(facts)
    old, made_with = leaves(baseline.groups), baseline.made_with

    def keep(name: str, now: Any) -> Any:
        if isinstance(now, dict):
            return {key: keep(f"{name} {key}", value) for key, value in now.items()}
        holds = name in old and not no_baseline(name, made_with, here, now) and alike(name, old[name], now)
        return old[name] if holds else now

    return {group: keep(group, content) for group, content in rounded(facts).items()}


def leaves(groups: Mapping[str, Any], above: str = "") -> Leaves:
    """Numbers, lists and words by the path to them, its parts joined by blanks."""
    paths: Leaves = {}
    for name, value in groups.items():
        path = f"{above} {name}".lstrip()
        paths |= leaves(value, path) if isinstance(value, dict) else {path: value}
    return paths


def rounded(facts: Mapping[str, Any]) -> dict[str, Any]:
    """With as many digits as are recorded."""

    def shorten(value: Any, digits: int) -> Any:
        if isinstance(value, dict):
            return {k: shorten(v, digits) for k, v in value.items()}
        if isinstance(value, list):
            return [shorten(v, digits) for v in value]
        return float(f"{value:.{digits - 1}e}") if isinstance(value, float) else value

    return {group: shorten(content, DIGITS.get(group, 17)) for group, content in facts.items()}


def no_baseline(name: str, made_with: Mapping[str, str], here: Mapping[str, str], now: Any) -> str | None:
    """None, or why the number cannot be held against what was recorded."""
    if now == "unavailable":
        return f"{name}: the backend is unavailable here"
    for prefix, packages in DEPEND_ON.items():
        other = [p for p in packages if made_with.get(p) != here.get(p)]
        if name.startswith(prefix) and other:
            versions = ", ".join(f"{p} {made_with.get(p)}, here {here.get(p)}" for p in other)
            return f"{prefix}: recorded with {versions}"
    return None


def alike(name: str, old: Any, new: Any) -> bool:
    """Whether a number still is what was recorded.

    An error may be twice the recorded one or a tenth of what is allowed, for BLAS adds in another order on
    another machine.
    """
    if type(old) is not type(new):
        return False
    if isinstance(new, float) and name.startswith("error "):
        return 0 <= new <= max(2 * old, tolerance("float32", STEPS) / 10)
    if isinstance(new, float):
        return math.isclose(new, old, rel_tol=RELATIVE) or (math.isnan(new) and math.isnan(old))
    if isinstance(new, list):
        return len(old) == len(new) and all(alike(name, a, b) for a, b in zip(old, new, strict=True))
    return bool(old == new)


def shown(old: Any, new: Any) -> tuple[str, str]:
    """Both as a table shows them; of two curves the first place where they part."""
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        place = next((k for k, (a, b) in enumerate(zip(old, new, strict=True)) if not alike("", a, b)), 0)
        return f"[{place}] {old[place]!r}", f"[{place}] {new[place]!r}"
    return _word(old), _word(new)


def _word(value: Any) -> str:
    if isinstance(value, list):
        return f"{len(value)} values"
    return "none" if value is None else str(value) if isinstance(value, str) else repr(value)


def table(differences: list[Difference]) -> list[str]:
    """Lines of a table: cell, what, old, new."""
    return grid(("cell", "what", "old", "new"), [(d.cell, d.what, d.old, d.new) for d in differences])
