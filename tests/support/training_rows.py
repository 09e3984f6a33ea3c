"""Synthetic trainings in the tidy schema: cells, a convolution and rivals on a task."""

from __future__ import annotations

import numpy as np
import pandas as pd

from cellbench.harness.report import trainings
from cellbench.harness.report.frame import prepare

RIVALS = {"order-free linear": 0.5, "every position apart, linear": 0.2}


WORKLOAD = {
    "run": "first",
    "probe": "training",
    "device": "cpu",
    "dtype": "float32",
    "threads": 1,
    "batch": 64,
    "hidden_size": 32,
    "status": "ok",
}


UPDATES, EPOCHS = 60, 3  # steps in all, and epochs that they make


def rows(
    cell,
    losses,
    task="splice",
    backend="numba",
    rivals=RIVALS,
    unit="nats",
    accuracy=True,
    updates=UPDATES,
    **columns,
):
    """A training for each of the test losses, one a seed; what columns add overrides the workload."""
    found = []
    for seed, end in enumerate(losses):
        case = WORKLOAD | {"cell": cell, "backend": backend, "task": task, "seed": seed, **columns}

        def row(metric, value, unit="1", lag=None, reason=None, case=case):
            return {**case, "metric": metric, "value": value, "unit": unit, "lag": lag, "reason": reason}

        found += [
            row("trivial_loss", 1.0, unit),
            row("target_loss", 0.3, unit),
            row("model_parameters", 4417.0),
        ]
        found += [row("learning_rate", 0.003), *([row("chance_accuracy", 0.55)] if accuracy else [])]
        for name, loss in rivals.items():
            found.append(row(f"rival_loss.{name}", loss + 0.01 * seed, unit))
            found += [row(f"rival_accuracy.{name}", 1 - loss)] if accuracy else []
        curve = end + np.exp(-np.arange(updates) / 10)
        found += [row("loss", v, unit, n) for n, v in enumerate(curve, 1)]
        found += [row("elapsed_s", 0.1 * n, "s", n) for n in range(1, updates + 1)]
        per = updates // EPOCHS
        for n in range(1, EPOCHS + 1):
            found += [
                row("epoch_s", 0.1 * per, "s", n),
                row("tokens", 1000.0 * n, "1", n),
                row("test_loss", end + 0.1 / n, unit, n),
            ]
            found += [row("accuracy", 0.5 + 0.1 * n, "1", n)] if accuracy else []
        found += [
            row("time_to_target_s", 4.0 if end < 0.3 else np.nan, "s"),
            row("best_test_loss", end, unit),
        ]
        found += [row("best_accuracy", 0.8)] if accuracy else []
    return found


def diverged(cell, seed=0, at=7, **columns):
    """A training that ended with an infinite loss at a step: its curve, and a last row that says so."""
    found = [r for r in rows(cell, [0.0] * (seed + 1), **columns) if r["seed"] == seed]
    found = [
        r
        for r in found
        if (r["metric"] in ("loss", "elapsed_s") and r["lag"] <= at)
        or r["metric"].startswith(("rival", "triv"))
    ]
    found = [r | {"value": np.inf} if r["metric"] == "loss" and r["lag"] == at else r for r in found]
    reason = f"at step {at} the loss is inf, the gradient's norm inf"
    found.append(found[0] | {"metric": None, "value": np.nan})
    return [r | {"status": "diverged", "reason": reason} for r in found]


def convolution(losses, **columns):
    found = rows("tcn", losses, backend="torch", variant="as gru", **columns)
    return [
        *found,
        *(r | {"metric": "receptive_field", "value": 61.0} for r in found if r["metric"] == "learning_rate"),
    ]


def table(every, task="splice"):
    """(the table, its texts by header and model)."""
    made = trainings.table(prepare(pd.DataFrame(every)), task)
    columns = {
        h: {r[0].text.replace("\u00a0", " "): r[i] for r in made.rows} for i, h in enumerate(made.header)
    }
    return made, columns
