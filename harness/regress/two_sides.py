"""The two sides of a comparison as programs, each checked before it is timed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import ModuleType

from .. import programs
from ..case import Case
from ..measure.timing import Timed
from .revision import library

Build = Callable[[], Timed]


@dataclass(frozen=True)
class Side:
    """A case, and the folder of the revision that computes it (None: this one)."""

    case: Case
    root: str | None = None


def make(a: Side, b: Side) -> tuple[Build, Build]:
    """Runs in the worker: how each side is built. Raises NotOk for one that is wrong or cannot run."""
    return build(a), build(b)


def build(side: Side) -> Build:
    """Checks a side against its revision's float64 reference; the function builds it anew each time."""
    case, package = side.case, library(side.root)
    given = programs.inputs(case, library=package)
    load = partial(loaded, case, given, package)
    program = load()
    program.run()
    program.sync()
    programs.check(program.read(), given, case, package)
    return lambda: timed(load())


def loaded(case: Case, given: programs.Inputs, package: ModuleType) -> programs.Program:
    program = programs.prepare(case, given.params, library=package)
    program.load(given.x, None, given.d_output)
    return program


def timed(program: programs.Program) -> Timed:
    return Timed(program.run, program.sync)
