"""MLflow and Weights & Biases in the place of a SummaryWriter: what goes to TensorBoard goes to them too."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

AT_ONCE = 1000  # metrics of one request, as many as MLflow takes
LONGEST = 250  # characters of a metric's name there


class _Mlflow:
    """Metrics of a run of MLflow, in requests of AT_ONCE; a sign that it refuses in a name becomes _."""

    def __init__(self, client: Any, run_id: str) -> None:
        from mlflow.entities import Metric

        self.metric, self.client, self.run_id = Metric, client, run_id
        self.waiting: list[Any] = []

    def add_scalar(self, name: str, value: float, step: int) -> None:
        key = re.sub(r"[^\w./ -]", "_", name, flags=re.ASCII)[:LONGEST]
        self.waiting.append(self.metric(key, float(value), int(time.time() * 1000), step))
        if len(self.waiting) == AT_ONCE:
            self.close()

    def close(self) -> None:
        if self.waiting:
            self.client.log_batch(self.run_id, metrics=self.waiting)
        self.waiting = []


class _Wandb:
    """Metrics of a run of W&B against `step`, which its own counter of calls does not follow."""

    def __init__(self, run: Any) -> None:
        self.run = run
        self.rows: dict[int, dict[str, float]] = {}
        self.names: set[str] = set()

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.rows.setdefault(step, {})[name] = float(value)
        self.names.add(name)

    def close(self) -> None:
        self.run.define_metric("step")
        for name in sorted(self.names):
            self.run.define_metric(name, step_metric="step")
        for step, values in sorted(self.rows.items()):
            self.run.log({"step": step, **values})


@contextmanager
def mlflow_writer(run_id: str | None, otherwise: str) -> Iterator[Any]:
    """A writer to a run of MLflow: the one of that id, or the active one.

    Raises ValueError without the package, or without such a run.
    """
    try:
        import mlflow
        from mlflow.exceptions import MlflowException
    except ImportError:
        raise ValueError(f"there is no mlflow here; `pip install mlflow-skinny`, or {otherwise}") from None
    active = mlflow.active_run()
    if run_id is None and active is None:
        raise ValueError("there is no active run of MLflow; call mlflow.start_run(), or give a run's id")
    name = run_id if run_id is not None else active.info.run_id
    try:
        client = mlflow.MlflowClient()
        client.get_run(name)
    except MlflowException as error:
        line = str(error).splitlines()[0]
        raise ValueError(f"MLflow gives no run {name!r:.80}: {line:.400}") from None
    writer = _Mlflow(client, name)
    yield writer
    writer.close()


@contextmanager
def wandb_writer(run: Any) -> Iterator[Any]:
    """A writer to a run of W&B, as `wandb.init` returns it. Raises ValueError for anything else."""
    if not (hasattr(run, "log") and hasattr(run, "define_metric")):
        raise ValueError(f"{run!r:.80} is no run of W&B; give what wandb.init() returns")
    writer = _Wandb(run)
    yield writer
    writer.close()
