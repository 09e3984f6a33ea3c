"""The fixture `cellbench`: asserts on the speed of functions and cells, judged by `Judge`."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field, replace
from operator import methodcaller
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from ..functions.function import Function, GateError, make, reference, work
from ..measure.judge import ALPHA, Judge, Judgement
from ..measure.pair import Pair
from ..measure.verdict import CHANGED, Verdict
from ..store.code import Watch
from .session import FIXTURE

if TYPE_CHECKING:
    from ..regress.base import Base
    from .session import Session

# pytest shows the line of the test, not ours
__tracebackhide__ = methodcaller("errisinstance", (AssertionError, GateError))
MET = {
    "not slower": (Verdict.SAME, Verdict.FASTER),
    "faster": (Verdict.FASTER,),
    "the same": (Verdict.SAME,),
}
# a pair that was not timed for another reason was computed wrong, or broke
NOT_TOLD = ("ok", "no baseline", "unavailable", "unsupported")


@dataclass
class Gate:
    """The fixture of one test. Its methods return the judgement, or fail the test with it.

    Functions are module-level ones, or "module:function": they run in fresh processes, which import them.
    They are called with args and kwargs, or with the value of the module-level function `setup` (a tuple
    holds all arguments). Each build of each side has arguments of its own, and is called with them many
    times. `equal(a, b)` may hold the two results against each other before anything is timed: it raises
    AssertionError, or returns False. A comparison that cannot be made raises GateError.
    """

    test: pytest.Item
    judge: Judge = field(repr=False)
    session: Session = field(repr=False)

    def not_slower(self, new: Any, *, than: Any, **call: Any) -> Judgement:
        """SAME or FASTER; call: args, kwargs, setup, equal."""
        return self.decide(*_functions(new, than, call, "not slower"))

    def faster(self, new: Any, *, than: Any, **call: Any) -> Judgement:
        """FASTER."""
        return self.decide(*_functions(new, than, call, "faster"))

    def same(self, a: Any, b: Any, **call: Any) -> Judgement:
        """SAME."""
        return self.decide(*_functions(b, a, call, "the same"))

    def not_slower_than_base(self, function: Any, **call: Any) -> Judgement:
        """SAME or FASTER than the function is at --cellbench-compare.

        Without that option the function runs once, then the test skips.

        Both are called with the same arguments, those of the working tree: plain data, no objects of what is
        compared.
        """
        now, given = reference(function), work(**call)
        base = self.session.base()
        if base is None:
            given.bound(now.load())()
            self.skip()
        return self.decide(_at_base(now, given, base), "not slower", _files(now), against_base=True)

    def cell_not_slower_than_base(self, cell: Any, **case: Any) -> Judgement:
        """The same of a cell: "path/to/file.py:Name", or its class.

        Each side is checked against float64 first.

        case: backend, steps, batch, input_size, hidden_size, direction, dtype, device, as `cellbench run` has
        them.
        """
        from . import cell_sides

        spec, sized, base = cell_sides.spec_of(cell), cell_sides.sizes(case), self.session.base()
        if base is None:
            cell_sides.run_once(spec, sized)
            self.skip()
        return self.decide(cell_sides.pair(spec, sized, base), "not slower", [spec], against_base=True)

    def skip(self) -> NoReturn:
        """Skips the test, which ran once and was not measured."""
        pytest.skip("ran once, not measured: --cellbench-compare=REV measures against a revision")

    def decide(self, pair: Pair, wanted: str, files: list[str], against_base: bool = False) -> Judgement:
        """Judges a pair, records it, and passes, fails or does what --cellbench-unsure says."""
        changed = Watch(files).changed
        judgement = of_one_code(among(self.judge.judge([pair])[0], self.session.tests), changed())
        outcome = outcome_of(judgement, wanted)
        self.test.user_properties.append(
            (FIXTURE, recorded(judgement, self.test.nodeid, wanted, outcome, against_base))
        )
        if outcome == "not met" or (outcome == "cannot tell" and self.session.unsure == "fail"):
            raise AssertionError("\n".join([f"{outcome}: {judgement}", *self.advice(judgement, wanted)]))
        if outcome == "cannot tell":
            (pytest.skip if self.session.unsure == "skip" else pytest.xfail)(f"{outcome}: {judgement}")
        return judgement

    def advice(self, judgement: Judgement, wanted: str) -> list[str]:
        """Lines that say what to do where a test did not find the verdict it wanted."""
        compare = [f"--cellbench-compare={self.session.revision}"] if self.session.revision else []
        again = shlex.join(["pytest", self.test.nodeid, *compare])
        return [f"wanted: {wanted}", *(f"warning: {w}" for w in judgement.warnings), f"again: {again}"]


def outcome_of(judgement: Judgement, wanted: str) -> str:
    """met, not met, or cannot tell."""
    if judgement.status not in NOT_TOLD:
        return "not met"
    if judgement.verdict in (Verdict.UNSURE, Verdict.INVALID):
        return "cannot tell"
    return "met" if judgement.verdict in MET[wanted] else "not met"


def among(judgement: Judgement, tests: int) -> Judgement:
    """Takes back a change whose p is above ALPHA over all tests that gate.

    By Bonferroni: Holm's correction would need the p of tests that have not run yet.
    """
    if judgement.verdict not in CHANGED or judgement.p * tests <= ALPHA:
        return judgement
    reason = f"{judgement.reason}, but p is {min(1, judgement.p * tests):.2g} over {tests} tests"
    return replace(judgement, verdict=Verdict.UNSURE, reason=reason)


def recorded(
    judgement: Judgement, test: str, wanted: str, outcome: str, against_base: bool
) -> dict[str, Any]:
    """A judgement in plain types, as pytest-xdist and JSON carry them."""
    effect = judgement.effect
    return {
        "test": test,
        "name": judgement.name,
        "wanted": wanted,
        "outcome": outcome,
        "base": against_base,
        "verdict": str(judgement.verdict),
        "reason": judgement.reason,
        "status": judgement.status,
        "effect": {"estimate": effect.estimate, "low": effect.low, "high": effect.high} if effect else None,
        "processes": judgement.processes,
        "repeated": judgement.repeated,
        "p": float(judgement.p),
        "timed_s": float(judgement.timed_s),
        "warnings": [str(w) for w in judgement.warnings],
        "line": str(judgement),
    }


def of_one_code(judgement: Judgement, changed: list[str]) -> Judgement:
    """A failure where files, which are named, were edited while it was measured."""
    if not changed:
        return judgement
    reason = f"{', '.join(changed)} changed while it was measured; measure anew"
    return replace(judgement, verdict=Verdict.INVALID, reason=reason, status="failed")


def _functions(new: Any, old: Any, call: dict[str, Any], wanted: str) -> tuple[Pair, str, list[str]]:
    a, b = reference(old), reference(new)
    return Pair(f"{b} against {a}", make, (a, b, work(**call))), wanted, _files(a, b)


def _files(*functions: Function) -> list[str]:
    """The files of functions; a compiled module's is none that is edited."""
    return [one.file for one in functions if one.file and one.file.endswith(".py")]


def _at_base(now: Function, given: Any, base: Base) -> Pair:
    from .beside import BaseFunction

    if now.file is None or base.counterpart(Path(now.file)) is None:
        raise GateError(
            f"{now} is of {now.file or 'no file'}, outside of {base.repository}: no revision of it has"
            " another"
        )
    return Pair(f"{now} against {base.name}", make, (BaseFunction(now, base), now, given))
