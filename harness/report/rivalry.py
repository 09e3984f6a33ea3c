"""Below a task's table, in words: who does not beat whom, what there is to reach, what the columns are."""

from __future__ import annotations

import numpy as np
import pandas as pd

from . import seeds
from .frame import named, setting_text, unique
from .standings import CELL, CONVOLUTION, Standing, level, ranked, wins
from .units import digits

SETTINGS = ("device", "dtype", "threads", "batch", "size")  # that trainings of a task may share
MOST_NAMED = 8  # models in a sentence


def unbeaten(all_models: list[Standing], all_rivals: list[Standing]) -> str:
    """Which models do not beat which rivals, the strongest rival first."""
    tried = [
        m
        for m in all_models
        if len(m.results) or any(status == "diverged" for status, _ in m.failed.values())
    ]
    known = [r for r in ranked(all_rivals) if len(r.values("best_test_loss"))]
    if not tried or not known:
        return ""
    several = len({m.backend for m in tried if m.kind == CELL}) > 1
    lost = {r.name: _lost(tried, r, several) for r in known}
    by_losers: dict[str, list[str]] = {}
    for name, text in lost.items():
        by_losers.setdefault(text, []).append(f"“{name}”")
    beaten = by_losers.pop("", [])
    open_ = [
        f"{named(names, len(names))} {'is' if len(names) == 1 else 'are'} not beaten by {text}"
        for text, names in by_losers.items()
    ]
    sentences = ["; ".join(open_) + "."] if open_ else []
    if beaten:
        every = (
            f"{'All trained models beat' if len(tried) > 1 else f'{tried[0].name} beats'}"
            f" {'' if open_ else 'every rival: '}"
        )
        sentences.append(f"{every}{named(beaten, len(beaten))}.")
    sentences.append("To beat is to have the lower test loss in every seed.")
    if any(name.startswith("every position apart") for name in lost):
        sentences.append(
            "“every position apart” sees all steps at once, each with weights of its own: it needs no memory."
        )
    return " ".join(sentences)


def _lost(tried: list[Standing], rival: Standing, several: bool) -> str:
    """'gru, lstm (lower in 1 of 3 seeds)'; '' where all beat it."""
    totals: dict[str, tuple[int, int]] = {}  # over all settings of a model, such as hidden sizes
    for model in tried:
        name = f"{model.name} ({model.backend})" if several else model.name
        (won, of), (more_won, more_of) = totals.get(name, (0, 0)), wins(model, rival)
        totals[name] = won + more_won, of + more_of
    lost = {name: (won, of) for name, (won, of) in totals.items() if won < of}
    if len(lost) == len(totals) > 1 and not any(won for won, _ in lost.values()):
        return "any model"
    texts = [f"{name} (lower in {won} of {of} seeds)" if won else name for name, (won, of) in lost.items()]
    return named(texts, MOST_NAMED)


def levels(rows: pd.DataFrame) -> str:
    """'The target is a test loss of 0.01; the best answer there can be has 0.'"""
    target, floor = level(rows, "target_loss"), level(rows, "floor_loss")
    clauses = [f"the target is a test loss of {digits(target)}"] if not np.isnan(target) else []
    clauses += [f"the best answer there can be has {digits(floor)}"] if not np.isnan(floor) else []
    return f"{'; '.join(clauses)}.".capitalize() if clauses else ""


def notes(
    rows: pd.DataFrame, all_models: list[Standing], all_rivals: list[Standing], bits: bool, figures: list[str]
) -> list[str]:
    """What the columns are, and the setting that all trainings share."""
    shared = {key: unique(rows[key])[0] for key in SETTINGS if len(unique(rows[key])) == 1}
    lines = [f"All at {setting_text(shared, list(shared))}."] if shared else []
    lines += [
        "Test loss and accuracy are of the epoch with the lowest validation loss; parameters are all that is"
        " trained."
    ]
    lines.append(seeds.sentence(max((len(m.results) for m in all_models), default=0)))
    tried = sorted(unique(rows.loc[rows["metric"] == "tried_learning_rate", "value"]))
    if tried:
        rates = ", ".join(digits(rate) for rate in tried)
        lines.append(
            f"Each model tried the learning rates {rates} for one epoch and kept the one with the lowest"
            " validation loss."
        )
    for m in [m for m in all_models if m.kind == CONVOLUTION][:1]:
        lines.append(
            f"{m.name}: causal dilated convolutions with about as many parameters as"
            f" {m.variant.removeprefix('as ')} itself has, without embedding and head. Its kind says how"
            " many of the last steps it sees."
        )
    if bits:
        lines.append("Bits per target (a character where targets are characters): nats over ln 2.")
    if "own_lyapunov" in figures:
        lines.append(
            "Lyapunov exponent: the largest one of the trained network as a system. Lag profile: the log of"
            " its response to an input, by the steps since; root mean square difference from the system's."
        )
    if any(str(c).startswith("label.") for m in all_models for c in m.results):
        lines.append(
            "Verdict: what the gradients of the trained cell say; the evidence is under Verdicts on"
            " trainings. CONVERGED: no more than 5 % of a constant answer's loss is left, or found to be"
            " recoverable."
        )
    if [r for r in all_rivals if not len(r.values("best_test_loss"))]:
        lines.append("A rival without a loss gives answers, not probabilities.")
    return lines
