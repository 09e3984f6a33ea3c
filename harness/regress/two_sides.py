"""The two sides of a comparison as programs: a case, of this revision or of another. Each is checked before
it is timed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

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
    """Runs in the worker: how each side is built. Raises NotOk for a side that cannot run, or is off the
    float64 reference.
    """
    return build(a), build(b)


def build(side: Side) -> Build:
    """A side's program, held against its own revision's float64 reference now; the function builds it anew
    each time.
    """
    case, own = side.case, library(side.root)
    given = programs.inputs(case, library=own)
    load = partial(loaded, case, given, own)
    program = load()
    program.run()
    program.sync()
    programs.check(program.read(), given, case, own)
    return lambda: timed(load())


def loaded(case: Case, given: programs.Inputs, own) -> programs.Program:
    program = programs.prepare(case, given.params, library=own)
    program.load(given.x, None, given.d_output)
    return program


def timed(program: programs.Program) -> Timed:
    return Timed(program.run, program.sync)
