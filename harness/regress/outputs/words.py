"""How a judgement is said in columns, in text and in Markdown alike."""

from __future__ import annotations

from ...measure.judge import Judgement
from ..benchmarks import Comparison

HEADER = ("benchmark", "effect", "95 % interval", "processes", "verdict")
RIGHT = (1, 2, 3)  # columns of numbers


def cells_of(judgement: Judgement) -> list[str]:
    """Name, effect, interval, processes (with those of the repetition), verdict.

    The effect is B's time over that of A, less 1.
    """
    effect = judgement.effect
    numbers = (
        [f"{percent(effect.estimate)} %", f"{percent(effect.low)} .. {percent(effect.high)}"]
        if effect
        else ["-", "-"]
    )
    count = f"{judgement.processes}+{judgement.repeated}" if judgement.repeated else str(judgement.processes)
    return [judgement.name, *numbers, count, str(judgement.verdict)]


def percent(fraction: float) -> str:
    return f"{100 * fraction:+.1f}"


def warnings_of(comparison: Comparison) -> list[str]:
    """The warnings of all judgements, one line a kind, with the number of their benchmarks."""
    texts = {w.kind: str(w) for j in comparison.judgements for w in j.warnings}
    counts = {
        kind: sum(any(w.kind is kind for w in j.warnings) for j in comparison.judgements) for kind in texts
    }
    total = len(comparison.judgements)
    return [
        text if total == 1 else f"{text} ({counts[kind]} of {total} benchmarks)"
        for kind, text in texts.items()
    ]
