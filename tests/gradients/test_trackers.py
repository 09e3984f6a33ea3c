"""A recorded training goes to MLflow's local store and to W&B offline with every number at its step."""

from __future__ import annotations

import math
import sys

import pytest
import torch

from cellbench.harness.gradients import record


@pytest.fixture
def found():
    """Three updates of a model whose gradient has the norms 5, 10, 15."""
    model = torch.nn.Linear(2, 1, bias=False)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    with record(model) as found:
        for factor in (1.0, 2.0, 3.0):
            optimiser.zero_grad()
            (model(torch.tensor([[3.0, 4.0]])) * factor).sum().backward()
            optimiser.step()
    return found


NORMS = {1: 5.0, 2: 10.0, 3: 15.0}


def test_mlflow_has_every_norm_at_its_step(found, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # which is local, and asks no server
    mlflow = pytest.importorskip("mlflow", reason="needs mlflow, see nox -s trackers")
    mlflow.set_tracking_uri((tmp_path / "mlruns").as_uri())
    with mlflow.start_run() as run:
        found.to_mlflow()
    history = mlflow.MlflowClient().get_metric_history(run.info.run_id, "gradient/norm")
    assert {one.step: one.value for one in history} == pytest.approx(NORMS)
    with pytest.raises(ValueError, match="no active run"):
        found.to_mlflow()
    with pytest.raises(ValueError, match="MLflow gives no run 'none'"):
        found.to_mlflow("none")


def test_wandb_has_every_norm_at_its_step(found, tmp_path):
    wandb = pytest.importorskip("wandb", reason="needs wandb, see nox -s trackers")
    run = wandb.init(mode="offline", dir=tmp_path)
    logged, log = [], run.log
    run.log = lambda row, *more: (logged.append(row), log(row, *more))
    found.to_wandb(run)
    run.finish()
    assert {row["step"]: row["gradient/norm"] for row in logged} == pytest.approx(NORMS)
    assert list(tmp_path.glob("wandb/offline-run-*/*.wandb"))


def test_many_metrics_go_in_requests_that_mlflow_takes_with_names_that_it_takes(monkeypatch):
    from types import ModuleType, SimpleNamespace

    from cellbench.harness.gradients.training import trackers

    entities = ModuleType("mlflow.entities")
    entities.Metric = lambda key, value, timestamp, step: SimpleNamespace(key=key, value=value, step=step)
    monkeypatch.setitem(sys.modules, "mlflow", ModuleType("mlflow"))
    monkeypatch.setitem(sys.modules, "mlflow.entities", entities)
    batches = []
    client = SimpleNamespace(log_batch=lambda run_id, metrics: batches.append(metrics))
    writer = trackers._Mlflow(client, "run")
    for step in range(2500):
        writer.add_scalar("loss/<b>é|T=4", math.nan if step == 7 else float(step), step)
    writer.close()
    assert list(map(len, batches)) == [1000, 1000, 500] and batches[2][-1].step == 2499
    assert batches[0][0].key == "loss/_b___T_4"


@pytest.mark.parametrize("run", [None, "a run", 3])
def test_what_is_no_run_of_wandb_is_refused_in_one_line(found, run):
    with pytest.raises(ValueError, match=r"no run of W&B; give what wandb\.init"):
        found.to_wandb(run)


def test_without_mlflow_a_line_says_what_to_install(found, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(ValueError, match="pip install mlflow-skinny"):
        found.to_mlflow()
