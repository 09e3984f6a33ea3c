"""All tasks in one table: what each model reached, and how many of the rivals it beats."""

from __future__ import annotations

import pandas as pd

from . import seeds
from .standings import Standing, models, of_task, rivals, trained_tasks, wins
from .table import Entry, Table, number

Key = tuple[str, ...]


def overview(ready: pd.DataFrame) -> Table:
    """A row a model, a column a task; no rows where there is one task alone."""
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
    rows = [(*map(Entry, key), *(here.get(task, number("–")) for task in tasks)) for key, here in found.items()]
    note = (
        "Accuracy on the test part, or the test loss where there are no classes; median over seeds. Below it, how many of the "
        "task's rivals (the constant answer among them) have the higher test loss in every seed."
    )
    return Table("Training", ("model", "backend", "setting", *tasks), tuple(rows), note).without_empty()


def _entry(model: Standing, others: list[Standing]) -> Entry:
    accuracy, loss = model.values("best_accuracy"), model.values("best_test_loss")
    if not len(loss):
        return Entry(next((status for status, _ in model.failed.values()), "–"), kind="status" if model.failed else "number")
    known = [rival for rival in others if len(rival.values("best_test_loss"))]
    beaten = sum(won == of for won, of in (wins(model, rival) for rival in known))
    said = seeds.over_seeds(accuracy, "%") if len(accuracy) else seeds.over_seeds(loss)
    return number(said.text, f"beats {beaten} of {len(known)}" if known else "")
