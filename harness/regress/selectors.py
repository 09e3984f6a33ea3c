"""`cellbench compare A:B [KEY=VALUE ...]`: two backends or cells, measured in the same processes."""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from cellbench import cells
from cellbench.cells import find
from cellbench.cells.foreign import ForeignError

from ..case import Case
from ..measure.pair import Pair
from ..measure.verdict import reliability
from ..runs import compose
from ..runs.schema import ConfigError
from . import resumed
from .benchmarks import Comparison, columns_of, name_of
from .judged import judged, throughput
from .of_cellbench import cannot_run, options
from .resumed import Asked
from .two_sides import Side, make


def again(name: str, output: Path | None) -> int:
    """Goes on with the run in a folder that `compare A:B` made; returns the exit code."""
    asked = resumed.asked(name, "compare")
    return compare(asked.given, list(asked.overrides), output, asked)


def compare(selector: str, overrides: list[str], output: Path | None, begun: Asked | None = None) -> int:
    """Judges B against A, given as A:B; returns the exit code, as of regress with B for the new side."""
    key, a, b = split(selector)
    asked = begun or Asked("compare", selector, tuple(overrides), secrets.randbits(32))
    if clash := [o for o in overrides if o.startswith(f"{key}=")]:
        raise ConfigError(f"{selector} says which {key} to compare; leave out {clash[0]}")
    if key == "backends" and not any(o.startswith("cells=") for o in overrides):
        overrides = [*overrides, "cells=[elman,lstm,gru]"]
    if key == "cells" and not any(o.startswith("backends=") for o in overrides):
        overrides = [*overrides, "backends=[numba]"]
    settings = compose.settings(["experiment=regress", *overrides, f"{key}=[{a},{b}]"])
    pairs, by_name, notes = paired(throughput(settings), key, a, b)
    called_a, called_b = called(a, b)
    outcome = Comparison(
        title=f"{called_b} against {called_a}",
        a=called_a,
        b=called_b,
        judgements=(),
        notes=tuple(notes),
        study=reliability(),
        commands={
            n: f"cellbench compare {shlex.quote(selector)} {_rest(case, key)}" for n, case in by_name.items()
        },
    )
    return judged(outcome, pairs, by_name, settings, output, asked)


def split(text: str) -> tuple[str, str, str]:
    """(cells or backends, A, B). Raises ConfigError unless one colon parts two of a kind."""
    readings = []
    for at in (k for k, c in enumerate(text) if c == ":"):
        a, b = text[:at], text[at + 1 :]
        readings += [
            (key, a, b)
            for key, get in (("backends", cells.backend), ("cells", cells.get))
            if _is(get, a) and _is(get, b)
        ]
    if len(readings) != 1:
        kinds = f"backends: {', '.join(cells.backend_names())}; cells: {', '.join(cells.names())}"
        raise ConfigError(f"{text!r} does not name two backends or two cells as A:B. {kinds}")
    if readings[0][1] == readings[0][2]:
        raise ConfigError(
            f"{text!r} compares {readings[0][1]!r} with itself; `cellbench doctor` measures the noise of that"
        )
    return readings[0]


def called(a: str, b: str) -> tuple[str, str]:
    """The sides as they stand in tables: a cell by path has its short name, unless both have the same."""
    short = find.short_name(a), find.short_name(b)
    return (a, b) if short[0] == short[1] else short


def _is(get: Callable[[str], object], spec: str) -> bool:
    try:
        get(spec)
    except ForeignError:  # a file that is there, and cannot be imported
        raise
    except ValueError:
        return False
    return True


def paired(cases: Sequence[Case], key: str, a: str, b: str) -> tuple[list[Pair], dict[str, Case], list[str]]:
    """The cases of A beside those of B that are equal but for the backend, or the cell."""

    def of(case: Case, value: str) -> Case:
        return replace(case, backend=value) if key == "backends" else replace(case, spec=value)

    pairs, by_name, notes = [], {}, []
    for case in (c for c in cases if a == (c.backend if key == "backends" else c.spec)):
        sides = Side(case), Side(of(case, b))
        rest = columns_of(case) | {"backend" if key == "backends" else "cell": None}
        name = f"{':'.join(called(a, b))} {name_of(rest)}"
        if reason := cannot_run(sides[0]) or cannot_run(sides[1]):
            notes.append(f"{name}: not timed, {reason}")
        else:
            pairs.append(Pair(name, make, sides, case.device))
            by_name[name] = case
    return pairs, by_name, notes


def _rest(case: Case, key: str) -> str:
    return options(case, cell=key != "cells", backend=key != "backends")
