"""Trainings as tables: the models and rivals of a task, all tasks at once, verdicts with their evidence."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd

from . import seeds
from .frame import NAMES
from .rivalry import levels, notes, unbeaten
from .section import anchor_of
from .shapes import grouped
from .standings import (
    RIVAL,
    Standing,
    lower_than_next,
    models,
    of_task,
    ranked,
    rivals,
    told_apart,
    trained_tasks,
    wins,
    with_loss,
)
from .table import Column, Entry, Table, known, number, table_of
from .units import digits, exact

TRAINING = "Training"  # the heading of all tasks; of one, its name follows
FIGURES = {
    "own_lyapunov": "Lyapunov exponent (nats/step)",
    "true_lyapunov": "the system's",
    "chrf": "chrF",
    "per": "phoneme errors",
    "profile_rms_nats": "lag profile, off by (nats)",
    "wer": "word errors",
}
SHARES = ("per", "wer")  # of 1
NO_VERDICT = "no verdict"  # as the line begins that says why there is none
Key = tuple[str, ...]


def table(ready: pd.DataFrame, task: str) -> Table:
    """Every model and every rival of a task, the lowest test loss first."""
    rows = of_task(ready, task)
    all_models, all_rivals = models(rows), rivals(rows)
    figures = _figures([*all_models, *all_rivals])
    unit = next((u for u in rows.loc[rows["metric"] == "loss", "unit"] if u not in ("", "1")), "")
    # bits per character or class are how models of text are compared, and every such task has this rival
    bits = unit == "nats" and any(r.name == "unigram" for r in all_rivals)
    sentences = [
        unbeaten(all_models, all_rivals),
        levels(rows),
        *notes(rows, all_models, all_rivals, bits, figures),
    ]
    columns = _columns(told_apart(rows), unit, bits, figures)
    note = " ".join(filter(None, sentences))
    return table_of(f"{TRAINING}: {task}", columns, ranked([*all_models, *all_rivals]), note)


def _columns(settings: list[str], unit: str, bits: bool, figures: list[str]) -> list[Column[Standing]]:
    columns: list[Column[Standing]] = [
        Column("model", lambda s: Entry(_unbroken(s.name))),
        Column("kind", _kind),
        Column("backend", lambda s: Entry(s.backend or "–")),
        *(Column(NAMES.get(key, key), partial(_setting, i)) for i, key in enumerate(settings)),
        Column("seeds", _seeds),
        Column(f"test loss{f' ({unit})' if unit else ''}", _loss),
    ]
    if bits:
        columns.append(Column("bits per target", _bits))
    columns.append(Column("accuracy", lambda s: seeds.over_seeds(s.values("best_accuracy"), "%")))
    columns += [Column(FIGURES.get(f, f.replace("_", " ")), partial(_figure, f)) for f in figures]
    return [
        *columns,
        Column("parameters", lambda s: number(exact(_middle(s, "model_parameters")))),
        Column("learning rate", _rate),
        Column("epochs", lambda s: seeds.over_seeds(s.values("epochs"), "count")),
        Column("time per epoch", _time),
        Column("time to target", _to_target),
        Column("verdict", _verdict),
    ]


def _figures(standings: list[Standing]) -> list[str]:
    """The task's own figures that anyone has, those of FIGURES first."""
    names = dict.fromkeys(
        c.removeprefix("figure.") for s in standings for c in s.results if str(c).startswith("figure.")
    )
    order = list(FIGURES)
    return sorted(names, key=lambda name: order.index(name) if name in order else len(order))


def _setting(index: int, s: Standing) -> Entry:
    return known(s.setting[index] if s.setting else "")


def _loss(s: Standing) -> Entry:
    loss = s.values("best_test_loss")
    return seeds.over_seeds(loss) if len(loss) else _without(s)


def _bits(s: Standing) -> Entry:
    return seeds.over_seeds(s.values("best_test_loss") / math.log(2))


def _figure(name: str, s: Standing) -> Entry:
    return seeds.over_seeds(s.values(f"figure.{name}"), "%" if name in SHARES else "1")


def _unbroken(name: str) -> str:
    """The name, to be broken after a comma alone."""
    return name.replace(" ", "\u00a0").replace(",\u00a0", ", ")


def _kind(s: Standing) -> Entry:
    steps = _middle(s, "receptive_field")
    return Entry(s.kind, "" if np.isnan(steps) else f"of {exact(steps)} steps")


def _middle(s: Standing, metric: str) -> float:
    return float(s.values(metric).median()) if len(s.values(metric)) else np.nan


def _seeds(s: Standing) -> Entry:
    """How many have a result, and what became of the others."""
    if s.kind == RIVAL:
        return number("–")
    lost = Counter(status for status, _ in s.failed.values())
    total = len(s.results) + len(s.failed)
    return number(
        f"{len(s.results)} of {total}" if lost else str(total),
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


def _time(s: Standing) -> Entry:
    """Below it, where some were measured by an earlier process: how many epochs came from a checkpoint."""
    entry, resumed = seeds.over_seeds(s.values("epoch_s"), "s"), s.values("resumed_epochs")
    if not len(resumed):
        return entry
    said = f"{exact(float(resumed.sum()))} epochs resumed"
    return replace(entry, detail="; ".join(filter(None, (entry.detail, said))))


def _to_target(s: Standing) -> Entry:
    """Median over the seeds that reached it, and how many did."""
    if "time_to_target_s" not in s.results:
        return number("–")
    times, total = s.values("time_to_target_s"), len(s.results) + len(s.failed)
    if not len(times):
        return number("not reached")
    return number(seeds.over_seeds(times, "s").text, f"in {len(times)} of {total}" if total > 1 else "")


def _verdict(s: Standing) -> Entry:
    """The label of most seeds and of how many; below it the others."""
    labels = Counter(filter(None, (_label(row) for _, row in s.results.iterrows()))).most_common()
    if len(labels) < 2:
        return Entry(labels[0][0] if labels else "–")
    (first, count), *others = labels
    return Entry(
        f"{first} {count}/{sum(n for _, n in labels)}", ", ".join(f"{name} {n}" for name, n in others)
    )


def overview(ready: pd.DataFrame) -> Table:
    """A row a model and a column a task, or turned where that is narrower; no rows for one task alone."""
    tasks = trained_tasks(ready)
    if len(tasks) < 2:
        return Table(TRAINING, ("model", "backend"), ())
    entries: dict[Key, dict[str, Entry]] = {}
    best: dict[str, Entry] = {}
    for task in tasks:
        rows = of_task(ready, task)
        others, all_models = rivals(rows), models(rows)
        best[task] = _best(all_models)
        for model in all_models:
            key = (model.name, model.backend, ", ".join(f"{v}" for v in model.setting if v not in ("", -1)))
            entries.setdefault(key, {})[task] = _of_all_tasks(model, others)
    none = number("–")
    note = (
        "Each field is the accuracy on the test part, or the test loss where there are no classes: the median"
        " over seeds. Below it is how many of the task's rivals (models without a recurrence, and the"
        " constant answer) it beats. To beat is to have the lower test loss in every seed."
    )
    if len(tasks) > len(entries):
        note += (
            " The column 'lowest test loss' names the model that has it, and the seeds in which it is below"
            " the next one. It is called sure where these are all of several seeds."
        )
        shapes = grouped(ready, tasks)
        turned = [
            (
                Entry(task, link=f"#{anchor_of(f'{TRAINING}: {task}')}"),
                *((Entry(shape),) if len(shapes) > 1 else ()),
                best[task],
                *(here.get(task, none) for here in entries.values()),
            )
            for shape, some in shapes.items()
            for task in some
        ]
        told = ("task", *(("shape",) if len(shapes) > 1 else ()), "lowest test loss")
        header = (*told, *(", ".join(filter(None, key)) for key in entries))
        return Table(TRAINING, header, tuple(turned), note)
    straight = [
        (*map(Entry, key), *(here.get(task, none) for task in tasks)) for key, here in entries.items()
    ]
    return Table(TRAINING, ("model", "backend", "setting", *tasks), tuple(straight), note).without_empty()


def _best(all_models: list[Standing]) -> Entry:
    """The model with the lowest test loss; below it in how many seeds it is lower than the next one's."""
    order = with_loss(all_models)
    if len(order) < 2:
        return Entry(order[0].name if order else "–")
    lower, seeds = lower_than_next(order)
    if seeds < 2:
        return Entry(order[0].name, "not sure, one seed")
    return Entry(order[0].name, f"{'sure' if lower == seeds else 'not sure'}, {lower} of {seeds} seeds")


def _of_all_tasks(model: Standing, others: list[Standing]) -> Entry:
    accuracy, loss = model.values("best_accuracy"), model.values("best_test_loss")
    if not len(loss):
        status = next((status for status, _ in model.failed.values()), "–")
        return Entry(status, kind="status" if model.failed else "number")
    with_loss = [rival for rival in others if len(rival.values("best_test_loss"))]
    beaten = sum(won == tried for won, tried in (wins(model, rival) for rival in with_loss))
    entry = seeds.over_seeds(accuracy, "%") if len(accuracy) else seeds.over_seeds(loss)
    return number(entry.text, f"beats {beaten} of {len(with_loss)}" if with_loss else "")


def evidence(ready: pd.DataFrame) -> Table:
    """Each verdict on a training with its own line, over all tasks."""
    entries = []
    for task in trained_tasks(ready):
        for m in models(of_task(ready, task)):
            for seed, metrics in m.results.iterrows():
                label, line = _label(metrics) or NO_VERDICT, m.lines.get(seed, "")
                if label != NO_VERDICT or line.startswith(NO_VERDICT):
                    reason = line.removeprefix(label).lstrip(": ")
                    first = (Entry(task), Entry(m.name), Entry(m.backend), number(str(seed)))
                    entries.append((*first, Entry(label), Entry(reason)))
    header = ("task", "model", "backend", "seed", "verdict", "evidence")
    return Table("Verdicts on trainings", header, tuple(entries), "The verdict gives its evidence in a line.")


def _label(row: pd.Series) -> str:
    return next(
        (
            str(name).removeprefix("label.")
            for name, v in row.items()
            if str(name).startswith("label.") and v == 1
        ),
        "",
    )
