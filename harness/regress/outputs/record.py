"""The JSON of a comparison. Floats are exact (repr); what is not finite is null."""

from __future__ import annotations

from typing import Any

from ...measure.judge import Judgement
from ...store.atomic import as_json
from ..benchmarks import Comparison
from .decision import code_of, exit_code, headline

SCHEMA = 1


def record(comparison: Comparison) -> str:
    """An object: schema, title, a, b, exit_code, headline, benchmarks, missing, facts, notes, study.

    A benchmark has name, verdict, exit_code, reason, effect ({estimate, low, high}, fractions of A's time, or
    null), processes, repeated, p, status, timed_s, warnings ([{kind, text}]) and command (or null). Schema 1;
    it counts up where a name is taken away or changes its meaning.
    """
    content = {
        "schema": SCHEMA,
        "title": comparison.title,
        "a": comparison.a,
        "b": comparison.b,
        "exit_code": exit_code(comparison),
        "headline": headline(comparison),
        "benchmarks": [_benchmark(j, comparison) for j in comparison.judgements],
        "missing": list(comparison.missing),
        "facts": [vars(fact) for fact in comparison.facts],
        "notes": list(comparison.notes),
        "study": comparison.study,
    }
    return as_json(content, indent=2)


def _benchmark(judgement: Judgement, comparison: Comparison) -> dict[str, Any]:
    return {
        "name": judgement.name,
        "verdict": judgement.verdict.value,
        "exit_code": int(code_of(judgement)),
        "reason": judgement.reason,
        "effect": vars(judgement.effect) if judgement.effect else None,
        "processes": judgement.processes,
        "repeated": judgement.repeated,
        "p": judgement.p,
        "status": judgement.status,
        "timed_s": judgement.timed_s,
        "command": comparison.commands.get(judgement.name),
        "warnings": [{"kind": w.kind.name, "text": w.text} for w in judgement.warnings],
    }
