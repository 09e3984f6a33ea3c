"""Who took part in a task and what each reached in each seed: cells, the convolution, the rivals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from .frame import of_metric, of_probe, telling, unique

CELL, CONVOLUTION, RIVAL = "cell", "convolution", "rival"
CURVES = ("loss", "elapsed_s", "own_profile", "true_profile")  # have a value a step, or a lag
CONSTANT = "constant answer"
TOLD_APART = (
    "run",
    "device",
    "dtype",
    "threads",
    "hidden_size",
)  # settings in which trainings of one task may differ


@dataclass(frozen=True)
class Standing:
    """A model or a rival. `results` has a row a seed with a result, by metric.

    `failed` has the status and the reason of the other seeds.
    """

    name: str
    kind: str
    backend: str = ""
    setting: tuple = ()
    variant: str = ""
    results: pd.DataFrame = field(default_factory=pd.DataFrame)
    failed: dict[int, tuple[str, str]] = field(default_factory=dict)
    lines: dict[int, str] = field(default_factory=dict)  # by seed, what the verdict says

    def values(self, metric: str) -> pd.Series:
        """The values by seed, of those in which it is known; empty if none."""
        return self.results[metric].dropna() if metric in self.results else pd.Series(dtype=float)

    @property
    def loss(self) -> float:
        """Median over seeds, NaN where there is none."""
        losses = self.values("best_test_loss")
        return float(losses.median()) if len(losses) else np.nan


def trained_tasks(ready: pd.DataFrame) -> list[str]:
    """The tasks of which anything is known, in order of appearance."""
    return unique(of_probe(ready, "training", None)["task"])


def of_task(ready: pd.DataFrame, task: str) -> pd.DataFrame:
    rows = of_probe(ready, "training", None)
    return rows[rows["task"] == task]


def told_apart(rows: pd.DataFrame) -> list[str]:
    """The settings in which trainings differ; sizes that were chosen to match a budget do not count."""
    matched = len(unique(rows["size"])) < 2
    keys = [key for key in TOLD_APART if key != "hidden_size" or not matched]
    return telling(rows, keys, beside=("label", "backend", "variant"))


def models(rows: pd.DataFrame) -> list[Standing]:
    """The cells and the convolution of one task, in order of appearance."""
    keys = ["label", "backend", "variant", *told_apart(rows)]
    sums = rows[~rows["metric"].isin(CURVES)]
    return [_model(values, rows) for values, rows in sums.groupby(keys, sort=False)]


def _model(values: tuple, rows: pd.DataFrame) -> Standing:
    label, backend, variant, *setting = values
    refused = rows[rows["status"] != "ok"].drop_duplicates("seed")
    failed = {r["seed"]: (r["status"], r["reason"]) for r in refused.to_dict("records")}
    results = by_seed(rows[(rows["status"] == "ok") & ~rows["seed"].isin(list(failed))])
    judged = rows[(rows["status"] == "ok") & (rows["reason"] != "")].drop_duplicates("seed")
    kind = CONVOLUTION if variant.startswith("as ") else CELL
    lines = dict(zip(judged["seed"], judged["reason"], strict=True))
    return Standing(label, kind, backend, tuple(setting), variant, results, failed, lines)


def by_seed(rows: pd.DataFrame) -> pd.DataFrame:
    """A row a seed, a column a metric: the value after the last epoch.

    Of epoch_s it is the median, with their number as `epochs`.
    """
    last = rows.sort_values("lag", kind="stable").drop_duplicates(["seed", "metric"], keep="last")
    found = last.pivot(index="seed", columns="metric", values="value")
    epochs = of_metric(rows, "epoch_s").groupby("seed")["value"]
    if len(epochs):
        found["epoch_s"], found["epochs"] = epochs.median(), epochs.size()
    for best, each in (("best_test_loss", "test_loss"), ("best_accuracy", "accuracy")):
        if best not in found and each in found:  # results of before the best epoch was kept
            found[best] = found[each]
    return found


def rivals(rows: pd.DataFrame) -> list[Standing]:
    """The constant answer and the rivals of one task, each with the metrics that a model has."""
    names = [
        m
        for m in unique(rows["metric"])
        if m.startswith("rival_") or m in ("trivial_loss", "chance_accuracy")
    ]
    rows = of_metric(rows, *names)
    found: dict[str, dict[str, pd.Series]] = {}
    for metric, here in rows.groupby("metric", sort=False):
        name, column = _named(metric)
        found.setdefault(name, {})[column] = here.groupby("seed")["value"].median()
    return [Standing(name, RIVAL, results=pd.DataFrame(columns)) for name, columns in found.items()]


def _named(metric: str) -> tuple[str, str]:
    """('bigram', 'best_test_loss') for 'rival_loss.bigram', ('knn', 'figure.per') for 'rival_per.knn'."""
    if not metric.startswith("rival_"):
        return CONSTANT, {"trivial_loss": "best_test_loss", "chance_accuracy": "best_accuracy"}[metric]
    what, _, name = metric.removeprefix("rival_").partition(".")
    return name, {"loss": "best_test_loss", "accuracy": "best_accuracy"}.get(what, f"figure.{what}")


def level(rows: pd.DataFrame, metric: str) -> float:
    """Median over seeds of what is one number a task: its target, its floor. NaN where unknown."""
    return float(of_metric(rows, metric).groupby("seed")["value"].median().median())


def ranked(standings: list[Standing]) -> list[Standing]:
    """Sorted by test loss. Rivals that have other figures follow, then models without a result."""
    return sorted(
        standings,
        key=lambda s: (bool(np.isnan(s.loss)), s.loss if np.isfinite(s.loss) else np.inf, s.kind != RIVAL),
    )


def with_loss(all_models: list[Standing]) -> list[Standing]:
    """The models that have a loss, the lowest first."""
    return [model for model in ranked(all_models) if len(model.values("best_test_loss"))]


def next_one(order: Sequence[Standing]) -> Standing:
    """The best model of another name than the first: one cell on two backends is no contest."""
    return next((model for model in order[1:] if model.name != order[0].name), order[1])


def lower_than_next(order: Sequence[Standing]) -> tuple[int, int]:
    """(seeds in which the first is below the next one, seeds that both have)."""
    mine, other = (model.values("best_test_loss") for model in (order[0], next_one(order)))
    seeds = mine.index.intersection(other.index)
    return int((mine[seeds] < other[seeds]).sum()), len(seeds)


def wins(model: Standing, rival: Standing) -> tuple[int, int]:
    """(seeds in which the model's test loss is the lower, seeds that it was tried in).

    A seed that diverged was tried and is no win.
    """
    mine, other = model.values("best_test_loss"), rival.values("best_test_loss")
    lower = (mine < other.reindex(mine.index, fill_value=np.nan)).sum()
    return int(lower), len(mine) + len(_ended_early(model))


def tried(model: Standing) -> list[int]:
    """The seeds that a model was trained with, those that failed included."""
    return sorted([*model.results.index, *_ended_early(model)])


def _ended_early(model: Standing) -> list[int]:
    refused = ("pruned", "skipped", "unsupported", "unavailable")
    return [seed for seed, (status, _) in model.failed.items() if status not in refused]


def several_backends(some: Sequence[Standing]) -> bool:
    return len(unique(model.backend for model in some)) > 1


def described(model: Standing, backend: bool) -> str:
    """'gru (numba, 64)': the name with the settings that are told apart, and the backend if asked for."""
    setting = [str(value) for value in model.setting if value not in ("", -1)]
    parts = [*([model.backend] if backend else []), *setting]
    return f"{model.name} ({', '.join(parts)})" if parts else model.name
