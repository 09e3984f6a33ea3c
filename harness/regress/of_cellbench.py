"""`cellbench regress base=REV` in cellbench's own clone: each benchmark of a revision and the working tree.

Both run in the same processes, unless their dependencies differ.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import ModuleType

from cellbench.cells.programs.program import DIRECTIONS

from ..case import Case
from ..measure.pair import Pair
from ..measure.verdict import reliability
from ..runs import compose
from ..runs.schema import Settings
from ..store.scratch import scratch
from . import revision
from .apart.environments import different_dependencies
from .apart.suite import apart
from .benchmarks import Comparison, Fact, columns_of, name_of
from .judged import judged, throughput
from .resumed import Asked
from .two_sides import Side, make


@dataclass
class Suite:
    """The pairs that two revisions have in common, and notes on what only one of them has."""

    pairs: list[Pair] = field(default_factory=list)
    cases: dict[str, Case] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def regress(base: str, overrides: list[str], output: Path | None, begun: Asked | None = None) -> int:
    """Judges the working tree against the revision `base`; returns the exit code of `cellbench regress`."""
    top = revision.top()
    hash_ = revision.commit(base, top)
    asked = begun or Asked("regress", base, tuple(overrides), secrets.randbits(32), hash_)
    if asked.commit != hash_:
        raise revision.RevisionError(
            f"base={base} was {asked.commit[:12]} when the run began, and is {hash_[:12]} now; measure anew"
        )
    overrides = overrides + [
        f"{key}=[{','.join(_default(key, folder, hash_, top))}]"
        for key, folder in (("cells", "cells/zoo"), ("backends", "cells/backends"))
        if not any(o.startswith(f"{key}=") for o in overrides)
    ]
    settings = compose.settings(["experiment=regress", *overrides])
    with scratch() as place:
        root = revision.take_out(hash_, top, place)
        outcome = Comparison(
            title=f"working tree against {base} ({hash_[:12]})",
            a=base,
            b="working tree",
            judgements=(),
            missing=tuple(
                f"cell {name}: in the zoo of the base, missing or renamed now" for name in _gone(root)
            ),
            notes=tuple(_same(root, top)),
            study=reliability(),
        )
        if reason := different_dependencies(root, top):
            outcome = replace(outcome, notes=(*outcome.notes, reason))
            return apart(outcome, root, top, settings, output, partial(_command, base), asked)
        suite = between(settings, str(root))
        outcome = replace(
            outcome,
            missing=(*outcome.missing, *suite.missing),
            notes=(*outcome.notes, *suite.notes),
            commands={name: _command(base, case) for name, case in suite.cases.items()},
            facts=tuple(facts(suite, str(root))),
        )
        return judged(outcome, suite.pairs, suite.cases, settings, output, asked)


def _default(key: str, folder: str, hash_: str, top: Path) -> list[str]:
    """The default cells or backends, and those whose own file changed since."""
    default = compose.compose(["experiment=regress"])[key]
    changed = revision.git(top, "diff", "--name-only", hash_, "--", folder) or b""
    names = [Path(line).stem for line in changed.decode().splitlines() if (top / line).exists()]
    return list(dict.fromkeys([*default, *(n for n in names if not n.startswith("_"))]))


def between(settings: Settings, root: str) -> Suite:
    """The throughput cases that both revisions can run: A is the one in the folder root."""
    suite = Suite()
    for case in throughput(settings):
        name = name_of(columns_of(case))
        before, now = Side(case, root), Side(case)
        cannot = [cannot_run(before), cannot_run(now)]
        if not any(cannot):
            suite.pairs.append(Pair(name, make, (before, now), case.device))
            suite.cases[name] = case
        elif all(cannot):
            suite.notes.append(f"{name}: not timed, {cannot[1]}")
        elif cannot[1]:
            suite.missing.append(f"{name}: runs in the base, but now {cannot[1]}")
        else:
            suite.notes.append(f"{name}: new, no baseline ({cannot[0]})")
    return suite


def cannot_run(side: Side) -> str | None:
    """The reason why a side cannot run here, or None."""
    package, case = revision.library(side.root), side.case
    try:
        cell, backend = package.get(case.spec), package.backend(case.backend)
    except ValueError as error:
        return str(error)
    unfit = getattr(cell, "unfit", lambda *sizes: None)(case.input_size, case.hidden_size)
    return (
        unfit
        or backend.unavailable(case.device)
        or backend.unsupported(cell, case.dtype, case.device, case.direction)
    )


def _gone(root: Path) -> list[str]:
    """Cells in the zoo of a revision that this one has not."""
    from cellbench import cells

    return sorted({p.stem for p in (root / "cells" / "zoo").glob("[!_]*.py")} - set(cells.names()))


def facts(suite: Suite, root: str) -> Iterator[Fact]:
    """Exact values that differ between the revisions; for information, `nox -s baselines` gates."""
    now, base = revision.library(None), revision.library(root)
    for case in {(c.spec, c.input_size, c.hidden_size): c for c in suite.cases.values()}.values():
        old, new = (_exact(library, case) for library in (base, now))
        for what in old:
            if old[what] != new[what]:
                yield Fact(
                    f"{case.spec} I={case.input_size} H={case.hidden_size} {what}",
                    old[what],
                    new[what],
                    gated=False,
                )


def _exact(library: ModuleType, case: Case) -> dict[str, str]:
    cell, sizes = library.get(case.spec), (case.input_size, case.hidden_size)
    operations = cell.operations(*sizes)
    return {
        "parameters": str(cell.parameter_count(*sizes)),
        **{f"operations {d}": str(operations.of(d)) for d in DIRECTIONS},
    }


def _same(root: Path, top: Path) -> list[str]:
    """A note where the two packages are equal, file for file."""

    def texts(folder: Path) -> dict[str, bytes]:
        return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.py")}

    return (
        ["the package cells is the same in both, file for file"]
        if texts(root / "cells") == texts(top / "cells")
        else []
    )


def _command(base: str, case: Case) -> str:
    return f"cellbench regress base={base} {options(case)}"


def options(case: Case, cell: bool = True, backend: bool = True) -> str:
    """The overrides that ask for this one case."""
    which = ([f"'cells=[{case.spec}]'"] if cell else []) + (
        [f"'backends=[{case.backend}]'"] if backend else []
    )
    sizes = [f"workload.{k}={getattr(case, k)}" for k in ("steps", "batch", "input_size", "hidden_size")]
    rest = [
        f"direction={case.direction}",
        f"dtype={case.dtype}",
        f"device={case.device}",
        f"threads={case.threads}",
    ]
    return " ".join([*which, *sizes, *rest])
