"""`cellbench regress base=REV 'cells=[path/to/file.py:Name]'` in a person's own repository.

The base is a revision of the repository that the files lie in, or a wheel that was built of it. Both sides
are computed by the cellbench that is installed. A cell that computes another thing than at the base is a
failure: it is no slower or faster, but another cell.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from cellbench import cells
from cellbench.cells import find
from cellbench.cells.programs.tolerance import relative_errors, tolerance

from .. import programs
from ..case import Case
from ..measure.judge import Judgement
from ..measure.pair import Pair
from ..measure.verdict import Verdict, reliability
from ..runs import compose
from ..runs.schema import Settings
from ..runs.values import ConfigError
from ..store.scratch import scratch
from . import of_cellbench, resumed, revision, wheel
from .base import Base
from .benchmarks import Comparison, Fact, columns_of, name_of
from .beside import make
from .judged import RunWriter, judged, published, throughput, writing
from .of_cellbench import cannot_run, options
from .resumed import Asked
from .two_sides import Side


def again(name: str, output: Path | None) -> int:
    """Goes on with the run in a folder that `regress` made; returns the exit code."""
    asked = resumed.asked(name, "regress")
    return regress(asked.given, list(asked.overrides), output, asked)


def regress(base: str, overrides: list[str], output: Path | None, begun: Asked | None = None) -> int:
    """Judges the working tree against `base`; returns the exit code of `cellbench regress`.

    It is about the repository of the files that `cells` names, or about cellbench's own.
    """
    files = _files(overrides)
    if not files:
        return of_cellbench.regress(base, overrides, output, begun)
    settings = compose.settings(["experiment=regress", *overrides])
    with taken_out(base, _repository(files, base)) as (place, commit):
        asked = begun or Asked("regress", base, tuple(overrides), secrets.randbits(32), commit)
        if asked.commit != commit:
            raise revision.RevisionError(
                f"base={base} was {asked.commit[:12]} when the run began, and is {commit[:12]} now; measure"
                " anew"
            )
        suite = Suite(place, base)
        for case in throughput(settings):
            suite.add(case)
        outcome = Comparison(
            title=f"{Path(place.repository).name}: working tree against {base} ({commit[:12]})",
            a=base,
            b="working tree",
            judgements=(),
            missing=tuple(suite.missing),
            notes=tuple(suite.notes),
            study=reliability(),
            commands={n: f"cellbench regress base={base} {options(c)}" for n, c in suite.cases.items()},
            facts=tuple(dict.fromkeys(suite.facts)),
        )
        if suite.pairs and not suite.facts and _unchanged(place, commit):
            return _same(outcome, suite, settings, output, asked)
        return judged(outcome, suite.pairs, suite.cases, settings, output, asked)


def _unchanged(base: Base, commit: str) -> bool:
    """Whether no file of the repository differs from the revision, and no module was added; of git alone."""
    top = Path(base.repository)
    same = revision.git(top, "diff", "--quiet", commit) is not None
    return same and revision.git(top, "ls-files", "--others", "--exclude-standard", "--", "*.py") == b""


def _same(outcome: Comparison, suite: Suite, settings: Settings, output: Path | None, asked: Asked) -> int:
    """What is the same file for file is the same program: nothing is timed."""
    reason = "the repository is the same in both, file for file; not timed"
    judgements = tuple(Judgement(pair.name, Verdict.SAME, reason) for pair in suite.pairs)
    with writing(settings, outcome, asked) as writer:
        RunWriter(writer, suite.cases, (outcome.a, outcome.b)).judgements(judgements)
    notes = (*outcome.notes, reason)
    return published(replace(outcome, judgements=judgements, notes=notes, study=""), writer.folder, output)


def _files(overrides: list[str]) -> list[Path]:
    """The files of the cells that are asked for; none where cellbench's own are compared.

    Raises ConfigError for names beside files.
    """
    specs = [str(s) for s in compose.compose(["experiment=regress", *overrides])["cells"]]
    paths = {spec: find.path_of(spec) for spec in specs}
    files = [path for path in paths.values() if path is not None]
    own = Path(cells.__file__).resolve().parent.parent
    outside = [path for path in files if not path.is_relative_to(own)]
    if outside and len(outside) < len(paths):
        other = next(spec for spec, path in paths.items() if path not in outside)
        raise ConfigError(
            f"cell {other!r} is none of the repository of {outside[0]}; regress compares one repository at a"
            " time: leave it out"
        )
    return outside


def _repository(files: list[Path], base: str) -> Path:
    """The repository that all files lie in; of a wheel, the folder of the first. Raises RevisionError."""
    if base.endswith(wheel.SUFFIX):
        return files[0]
    tops = {}
    for file in files:
        found = revision.git(file.parent, "rev-parse", "--show-toplevel") if file.parent.is_dir() else None
        tops[file] = Path(found.decode().removesuffix("\n")).resolve() if found else None
    if None in tops.values():
        file = next(file for file, top in tops.items() if top is None)
        raise revision.RevisionError(
            f"{file} lies in no git repository, which base={base} would be a revision of; give a wheel,"
            " base=FILE.whl, or run it in a clone"
        )
    if len(set(tops.values())) > 1:
        raise revision.RevisionError(f"{' and '.join(map(str, files[:2]))} lie in two repositories")
    return next(top for top in tops.values() if top)


@contextmanager
def taken_out(base: str, place: Path) -> Iterator[tuple[Base, str]]:
    """(the base's files, its hash): of a revision of the repository at `place`, or of a wheel."""
    with scratch() as folder:
        if base.endswith(wheel.SUFFIX):
            yield wheel.unpacked(find.given_path(base), place, folder.resolve())
            return
        commit = revision.commit(base, place)
        taken = revision.take_out(commit, place, folder.resolve(), package=None)
        yield Base(str(place), str(taken), base), commit


class Suite:
    """The pairs that the base and the working tree have in common, and what else is known of them."""

    def __init__(self, base: Base, name: str) -> None:
        self.base, self.name = base, name
        self.pairs: list[Pair] = []
        self.cases: dict[str, Case] = {}
        self.missing: list[str] = []
        self.notes: list[str] = []
        self.facts: list[Fact] = []

    def add(self, case: Case) -> None:
        """A pair of this case, or the reason why there is none."""
        name = name_of(columns_of(case))
        path = find.path_of(case.spec)
        assert path is not None
        old, match = self.base.counterpart(path), find.BY_PATH.fullmatch(case.spec)
        if old is None or match is None or not old.is_file():
            self.notes.append(f"{name}: new, no baseline (base {self.name} has no such file)")
            return
        before = replace(case, spec=f"{old}{case.spec[match.end('file') :]}")
        cannot = [cannot_run(Side(one)) for one in (before, case)]
        if cannot[1] and not cannot[0]:
            self.missing.append(f"{name}: runs at the base, but now {cannot[1]}")
        elif any(cannot):
            at_base = str(cannot[0]).replace(str(old), f"{match['file']} at {self.name}")
            self.notes.append(f"{name}: not timed, {cannot[1] or f'no baseline ({at_base})'}")
        else:
            self.facts += differences(case, before)
            self.pairs.append(Pair(name, make, (Side(before), Side(case), self.base), case.device))
            self.cases[name] = case


def differences(case: Case, before: Case) -> Iterator[Fact]:
    """What a cell computes otherwise than its base, from the same arrays in float64.

    A rewriting of the equations that rounds in another way is no difference.
    """
    what = f"{find.short_name(case.spec)} I={case.input_size} H={case.hidden_size}"
    now, old = (
        cells.get(one.spec).parameter_shapes(case.input_size, case.hidden_size) for one in (case, before)
    )
    if now != old:
        yield Fact(f"{what} arrays", _shapes(old), _shapes(now))
        return
    given, shape = programs.inputs(before), programs.inputs(case).d_output.shape
    if shape != given.d_output.shape:
        yield Fact(f"{what} output", str(given.d_output.shape), str(shape))
        return
    want, have = (programs.reference(given, one) for one in (before, case))
    if set(want) != set(have):
        yield Fact(f"{what} results", ", ".join(want), ", ".join(have))
        return
    errors = relative_errors(have, want, case.steps)
    allowed = tolerance(case.dtype, case.steps)
    if wrong := {name: error for name, error in errors.items() if not error <= allowed}:
        first = next(iter(wrong))
        off = f"off by {wrong[first]:.2g} of its largest entry"
        yield Fact(f"{what} computes another {first}", "as it was", off)


def _shapes(shapes: dict[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {shape}" for name, shape in shapes.items())
