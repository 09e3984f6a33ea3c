"""All tasks in one table: what each model reached, and how many of the rivals it beats."""

from __future__ import annotations

import pandas as pd

from . import seeds
from .standings import Standing, models, of_task, rivals, trained_tasks, wins
from .table import Entry, Table, number

Key = tuple[str, ...]


def overview(ready: pd.DataFrame) -> Table:
    """A row a model and a column a task, or turned where that is narrower; no rows where there is one task
    alone.
    """
    tasks = trained_tasks(ready)
    if len(tasks) < 2:
        return Table("Training", ("model", "backend"), ())
    found: dict[Key, dict[str, Entry]] = {}
    for task in tasks:
        part = of_task(ready, task)
        others = rivals(part)
        for model in models(part):
            key = (model.name, model.backend, ", ".join(f"{v}" for v in model.setting if v not in ("", -1)))
            found.setdefault(key, {})[task] = _entry(model, others)
    none = number("–")
    note = (
        "Accuracy on the test part, or the test loss where there are no classes; median over seeds. Below it,"
        " how many of the task's rivals (the constant answer among them) have the higher test loss in every"
        " seed."
    )
    if len(tasks) > len(found):
        turned = [(Entry(task), *(here.get(task, none) for here in found.values())) for task in tasks]
        return Table(
            "Training", ("task", *(", ".join(filter(None, key)) for key in found)), tuple(turned), note
        )
    rows = [(*map(Entry, key), *(here.get(task, none) for task in tasks)) for key, here in found.items()]
    return Table("Training", ("model", "backend", "setting", *tasks), tuple(rows), note).without_empty()


def _entry(model: Standing, others: list[Standing]) -> Entry:
    accuracy, loss = model.values("best_accuracy"), model.values("best_test_loss")
    if not len(loss):
        return Entry(
            next((status for status, _ in model.failed.values()), "–"),
            kind="status" if model.failed else "number",
        )
    known = [rival for rival in others if len(rival.values("best_test_loss"))]
    beaten = sum(won == of for won, of in (wins(model, rival) for rival in known))
    said = seeds.over_seeds(accuracy, "%") if len(accuracy) else seeds.over_seeds(loss)
    return number(said.text, f"beats {beaten} of {len(known)}" if known else "")
