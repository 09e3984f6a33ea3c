"""A case of the probe training, measured in this process as a worker measures it."""

from cellbench.harness.case import Case
from cellbench.harness.probe import CaseResult, measure_cases

OPTIONS = {"hidden_size": 4, "epochs": 1, "verdict": False}


def ended(
    spec: str = "gru", task: str = "adding:steps=5:count=80", backend: str = "numpy", **options: object
) -> tuple[CaseResult, set[str]]:
    """How it ends, and the metrics of all series that it handed over before the end."""
    case = Case("training", spec, backend, "cpu", "float32", batch=8, hidden_size=4, task=task, seed=0)
    messages: list = []
    measure_cases(messages.append, "training", OPTIONS | options, [case])
    given = [content for _, content in messages[:-1] if isinstance(content, list)]
    return messages[-1][1], {series["metric"] for some in given for series in some}
