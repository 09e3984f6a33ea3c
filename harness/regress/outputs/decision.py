"""The decision on a comparison: each benchmark is fine, a failure or untold, and so are all."""

from __future__ import annotations

from enum import IntEnum

from ...measure.judge import Judgement
from ...measure.verdict import Verdict
from ...store import ERRORS
from ..benchmarks import Comparison


class Code(IntEnum):
    """Exit codes of compare and regress; 2, for bad input, is the command line's own."""

    FINE = 0
    FAILURE = 1
    CANNOT_TELL = 3


def code_of(judgement: Judgement) -> Code:
    """A change counts as a failure only with SLOWER; a benchmark that broke is one whatever its verdict."""
    if judgement.verdict is Verdict.SLOWER or judgement.status in ERRORS:
        return Code.FAILURE
    fine = judgement.verdict in (Verdict.SAME, Verdict.FASTER) and judgement.status == "ok"
    return Code.FINE if fine else Code.CANNOT_TELL


def exit_code(comparison: Comparison) -> int:
    """0 where all is fine; 1 for a failure; 3 where it cannot tell or nothing was measured.

    A failure is a regression, or a benchmark that is missing, broken or exactly different.
    """
    codes = {code_of(j) for j in comparison.judgements}
    if comparison.missing or Code.FAILURE in codes or any(fact.gated for fact in comparison.facts):
        return int(Code.FAILURE)
    return int(Code.FINE) if codes == {Code.FINE} else int(Code.CANNOT_TELL)


def headline(comparison: Comparison) -> str:
    """One line: what it comes to, and what for."""
    word = {Code.FINE: "OK", Code.FAILURE: "FAILED", Code.CANNOT_TELL: "CANNOT TELL"}[
        Code(exit_code(comparison))
    ]
    if any(j.verdict is Verdict.SLOWER for j in comparison.judgements):
        word = "REGRESSION"
    return f"{word}: {', '.join(_counts(comparison))}"


def _counts(comparison: Comparison) -> list[str]:
    broken = [j for j in comparison.judgements if j.status in ERRORS]
    judged = [j for j in comparison.judgements if j.status not in ERRORS]
    counts = {
        v.value: sum(j.verdict is v for j in judged)
        for v in (Verdict.SLOWER, *(v for v in Verdict if v != "SLOWER"))
    }
    counts = {
        "SLOWER": counts.pop("SLOWER"),
        "broken": len(broken),
        "missing": len(comparison.missing),
    } | counts
    phrases = [f"{count} {name}" for name, count in counts.items() if count]
    if total := len(comparison.judgements) + len(comparison.missing):
        phrases[-1] += f" of {total}"
    if gated := sum(fact.gated for fact in comparison.facts):
        phrases.append(f"{gated} exact {'value differs' if gated == 1 else 'values differ'}")
    return phrases if comparison.judgements else ["nothing was measured", *phrases]
