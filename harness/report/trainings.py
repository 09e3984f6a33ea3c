"""A task's table: rivals and the convolution beside the cells, and in words who does not beat whom."""

from __future__ import annotations

import math
import re
from collections import Counter

import numpy as np
import pandas as pd

from . import seeds
from .frame import NAMES, setting_text, unique
from .standings import (
    CELL,
    CONVOLUTION,
    RIVAL,
    Standing,
    level,
    models,
    of_task,
    ranked,
    rivals,
    told_apart,
    trained_tasks,
    wins,
)
from .table import Entry, Table, number
from .units import digits, exact

FIGURES = {
    "own_lyapunov": "Lyapunov exponent (nats/step)",
    "true_lyapunov": "the system's",
    "chrf": "chrF",
    "per": "phoneme errors",
    "profile_rms_nats": "lag profile, off by (nats)",
    "wer": "word errors",
}
SETTINGS = ("device", "dtype", "threads", "batch", "size")  # that trainings of a task may share
SHARES = ("per", "wer")  # of 1
NO_VERDICT = "no verdict"  # as the line begins that says why there is none
MOST_NAMED = 8  # models in a sentence


def table(ready: pd.DataFrame, task: str) -> Table:
    """Every model and every rival of a task, the lowest test loss first."""
    part = of_task(ready, task)
    extra, all_models, all_rivals = told_apart(part), models(part), rivals(part)
    unit = next((u for u in part.loc[part["metric"] == "loss", "unit"] if u not in ("", "1")), "")
    figures = _figures([*all_models, *all_rivals])
    bits = unit == "nats" and any(r.name == "unigram" for r in all_rivals)
    header = [
        "model",
        "kind",
        "backend",
        *[NAMES.get(key, key) for key in extra],
        "seeds",
        f"test loss{f' ({unit})' if unit else ''}",
    ]
    header += [
        "bits per target",
        "accuracy",
        *[FIGURES.get(f, f.replace("_", " ")) for f in figures],
        "parameters",
    ]
    header += ["learning rate", "epochs", "time per epoch", "time to target", "verdict"]
    rows = [_row(s, len(extra), bits, figures) for s in ranked([*all_models, *all_rivals])]
    sentences = [
        unbeaten(all_models, all_rivals),
        _levels(part),
        *_notes(part, all_models, all_rivals, bits, figures),
    ]
    return Table(
        f"Training: {task}", tuple(header), tuple(rows), " ".join(filter(None, sentences))
    ).without_empty()


def _figures(standings: list[Standing]) -> list[str]:
    names = dict.fromkeys(
        c.removeprefix("figure.") for s in standings for c in s.found if str(c).startswith("figure.")
    )
    order = list(FIGURES)
    return sorted(names, key=lambda name: order.index(name) if name in order else len(order))


def _row(s: Standing, extra: int, bits: bool, figures: list[str]) -> tuple[Entry, ...]:
    loss = s.values("best_test_loss")
    fields = [Entry(_unbroken(s.name)), _kind(s), Entry(s.backend or "–")]
    fields += [Entry("–" if v in ("", -1) else str(v)) for v in s.setting or [""] * extra]
    fields += [_seeds(s), seeds.over_seeds(loss) if len(loss) else _without(s)]
    fields += [
        seeds.over_seeds(loss / math.log(2)) if bits else number("–"),
        seeds.over_seeds(s.values("best_accuracy"), "%"),
    ]
    fields += [
        seeds.over_seeds(s.values(f"figure.{name}"), "%" if name in SHARES else "1") for name in figures
    ]
    fields += [
        number(exact(_middle(s, "model_parameters"))),
        _rate(s),
        seeds.over_seeds(s.values("epochs"), "count"),
        seeds.over_seeds(s.values("epoch_s"), "s"),
    ]
    return (*fields, _to_target(s), _verdict(s))


def _unbroken(name: str) -> str:
    """The name, to be broken after a comma alone."""
    return name.replace(" ", "\u00a0").replace(",\u00a0", ", ")


def _kind(s: Standing) -> Entry:
    seen = _middle(s, "receptive_field")
    return Entry(s.kind, "" if np.isnan(seen) else f"of {exact(seen)} steps")


def _middle(s: Standing, metric: str) -> float:
    return float(s.values(metric).median()) if len(s.values(metric)) else np.nan


def _seeds(s: Standing) -> Entry:
    """How many have a result, and what became of the others."""
    if s.kind == RIVAL:
        return number("–")
    lost = Counter(status for status, _ in s.failed.values())
    total = len(s.found) + len(s.failed)
    return number(
        f"{len(s.found)} of {total}" if lost else str(total),
        ", ".join(f"{n} {what}" for what, n in lost.items()),
    )


def _without(s: Standing) -> Entry:
    """The status of a model that has no loss, with the step where the reason names one."""
    if not s.failed:
        return number("–")
    status, reason = next(iter(s.failed.values()))
    step = re.search(r"at step \d+", reason) if status == "diverged" else None
    return Entry(status, step[0] if step else "", "status")


def _rate(s: Standing) -> Entry:
    rates = sorted(set(s.values("learning_rate")))
    return number(", ".join(digits(rate) for rate in rates) or "–")


def _to_target(s: Standing) -> Entry:
    """Median over the seeds that reached it, and how many did."""
    if "time_to_target_s" not in s.found:
        return number("–")
    times, total = s.values("time_to_target_s"), len(s.found) + len(s.failed)
    if not len(times):
        return number("not reached")
    return number(seeds.over_seeds(times, "s").text, f"in {len(times)} of {total}" if total > 1 else "")


def _verdict(s: Standing) -> Entry:
    """The label of most seeds and of how many; below it the others."""
    labels = Counter(filter(None, (_label(row) for _, row in s.found.iterrows()))).most_common()
    if len(labels) < 2:
        return Entry(labels[0][0] if labels else "–")
    (first, count), *others = labels
    return Entry(
        f"{first} {count}/{sum(n for _, n in labels)}", ", ".join(f"{name} {n}" for name, n in others)
    )


def _label(row: pd.Series) -> str:
    return next(
        (
            str(name).removeprefix("label.")
            for name, v in row.items()
            if str(name).startswith("label.") and v == 1
        ),
        "",
    )


def unbeaten(all_models: list[Standing], all_rivals: list[Standing]) -> str:
    """Which models do not beat which rivals, the strongest rival first; to beat is to have the lower test
    loss in every seed.
    """
    tried = [
        m for m in all_models if len(m.found) or any(status == "diverged" for status, _ in m.failed.values())
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
        f"{_and(names)} {'is' if len(names) == 1 else 'are'} not beaten by {text}"
        for text, names in by_losers.items()
    ]
    sentences = ["; ".join(open_) + "."] if open_ else []
    if beaten:
        every = (
            f"{'All trained models beat' if len(tried) > 1 else f'{tried[0].name} beats'}"
            f" {'' if open_ else 'every rival: '}"
        )
        sentences.append(f"{every}{_and(beaten)}.")
    sentences.append("To beat is to have the lower test loss in every seed.")
    if any(name.startswith("every position apart") for name in lost):
        sentences.append(
            "“every position apart” sees all steps at once, each with weights of its own: it needs no memory."
        )
    return " ".join(sentences)


def _lost(tried: list[Standing], rival: Standing, several: bool) -> str:
    """'gru, lstm (lower in 1 of 3 seeds)'; '' where all beat it."""
    names, partly = [], False
    for model in tried:
        won, of = wins(model, rival)
        if won < of:
            partly |= won > 0
            name = f"{model.name} ({model.backend})" if several else model.name
            names.append(f"{name} (lower in {won} of {of} seeds)" if won else name)
    if len(names) == len(tried) > 1 and not partly:
        return "any model"
    return _and(
        names if len(names) <= MOST_NAMED else [*names[:MOST_NAMED], f"{len(names) - MOST_NAMED} more"]
    )


def _and(names: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def _levels(part: pd.DataFrame) -> str:
    """'Target loss 0.01; floor 0.'"""
    target, floor = level(part, "target_loss"), level(part, "floor_loss")
    said = [f"the target is a test loss of {digits(target)}"] if not np.isnan(target) else []
    said += [f"the best answer there can be has {digits(floor)}"] if not np.isnan(floor) else []
    return f"{'; '.join(said)}.".capitalize() if said else ""


def _notes(
    part: pd.DataFrame, all_models: list[Standing], all_rivals: list[Standing], bits: bool, figures: list[str]
) -> list[str]:
    """What the columns are, and the setting that all trainings share."""
    shared = {key: unique(part[key])[0] for key in SETTINGS if len(unique(part[key])) == 1}
    notes = [f"All at {setting_text(shared, list(shared))}."] if shared else []
    notes += [
        "Test loss and accuracy are of the epoch with the lowest validation loss; parameters are all that is"
        " trained."
    ]
    notes.append(seeds.said(max((len(m.found) for m in all_models), default=0)))
    tried = sorted(unique(part.loc[part["metric"] == "tried_learning_rate", "value"]))
    if tried:
        rates = ", ".join(digits(rate) for rate in tried)
        notes.append(
            f"Each model tried the learning rates {rates} for one epoch and kept the one with the lowest"
            " validation loss."
        )
    for m in [m for m in all_models if m.kind == CONVOLUTION][:1]:
        notes.append(
            f"{m.name}: causal dilated convolutions with about as many parameters as"
            f" {m.variant.removeprefix('as ')} itself has, without embedding and head; at its kind stands how"
            " many of the last steps it sees."
        )
    if bits:
        notes.append("Bits per target (a character where targets are characters): nats over ln 2.")
    if "own_lyapunov" in figures:
        notes.append(
            "Lyapunov exponent: the largest one of the trained network as a system; lag profile: root mean"
            " square difference of its log response by lag from the system's."
        )
    if any(str(c).startswith("label.") for m in all_models for c in m.found):
        notes.append(
            "Verdict: what the gradients of the trained cell say (CONVERGED: no more than 5 % of a constant"
            " answer's loss is left, or found to be recoverable); the evidence is under Verdicts on"
            " trainings."
        )
    if [r for r in all_rivals if not len(r.values("best_test_loss"))]:
        notes.append("A rival without a loss gives answers, not probabilities.")
    return notes


def evidence(ready: pd.DataFrame) -> Table:
    """Each verdict on a training with its own line, over all tasks."""
    rows = []
    for task in trained_tasks(ready):
        for m in models(of_task(ready, task)):
            for seed, found in m.found.iterrows():
                label, line = _label(found) or NO_VERDICT, m.lines.get(seed, "")
                if label != NO_VERDICT or line.startswith(NO_VERDICT):
                    said = line.removeprefix(label).lstrip(": ")
                    rows.append(
                        (
                            Entry(task),
                            Entry(m.name),
                            Entry(m.backend),
                            number(str(seed)),
                            Entry(label),
                            Entry(said),
                        )
                    )
    header = ("task", "model", "backend", "seed", "verdict", "evidence")
    return Table("Verdicts on trainings", header, tuple(rows), "The evidence is the verdict's own line.")
