"""What is said of a trained model beyond its loss: the verdict on it, and its task's own figures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from .case import Case
from .gradients import diagnose
from .identified import identified
from .probe import cell_of
from .stepped import Stepped, unsteppable
from .task import MANY_TO_ONE, TO_SEQUENCE, Data, Task
from .training import Model, batches

SAMPLES = 256  # sequences that a verdict looks at


@dataclass(frozen=True)
class Said:
    """A verdict's label (None where there is none) and its line, or why there is none."""

    label: str | None
    line: str


def verdict(case: Case, data: Data, model: Model, samples_seen: int) -> Said:
    """The diagnosis of a many-to-one model on sequences of the test part, stepped in float64."""
    cell = cell_of(case)
    if data.shape != MANY_TO_ONE:
        return Said(None, f"no verdict: it is for one answer a sequence, and this task is {data.shape}")
    if reason := unsteppable(cell):
        return Said(None, f"no verdict: {reason}")
    net = Stepped(cell, dict(model.cell.items()), model.head_weight, model.head_bias).cpu()
    loss = torch.nn.functional.mse_loss if data.classes is None else torch.nn.functional.cross_entropy
    found = diagnose(net, loss, same_lengths(data, model), samples=SAMPLES, samples_seen=samples_seen, floor=data.floor)
    return Said(found.verdict.label, str(found.verdict))


def same_lengths(data: Data, model: Model):
    """(x (T, B, I), y) of the test part: sequences end together, after zeros where one is shorter."""
    for start in range(0, min(len(data.test), SAMPLES), 64):
        rows = slice(start, start + 64)
        steps = int(data.test.lengths[rows].max())
        x = np.zeros((steps, *data.test.x[rows, 0].shape), data.test.x.dtype)
        for n, length in enumerate(data.test.lengths[rows]):
            x[steps - length :, n] = data.test.x[rows][n, :length]
        yield model.embedded(torch.from_numpy(x)).detach(), torch.from_numpy(data.test.y[rows])


def figures(task: Task, data: Data, model: Model, size: int) -> dict[str, float]:
    """The task's figures of the model's answers to the test part, and how it compares with the system behind the data."""
    found = dict(task.figures(data, answers(data, model, size))) if type(task).figures is not Task.figures else {}
    truth = task.truth(data)
    if truth is None or unsteppable(model.cell_itself):
        return found
    params = {k: v.detach().cpu().double().numpy() for k, v in model.cell.items()}
    weight, bias = (p.detach().cpu().double().numpy() for p in (model.head_weight, model.head_bias))
    own = identified(model.cell_itself, params, (weight, bias), data, truth.autonomous)
    lags = min(len(own.lag_profile), len(truth.lag_profile))
    apart = own.lag_profile[:lags] - truth.lag_profile[:lags]
    return found | {
        "true_lyapunov": truth.lyapunov, "own_lyapunov": own.lyapunov, "profile_rms_nats": float(np.sqrt(np.mean(apart**2))),
    }  # fmt: skip


def answers(data: Data, model: Model, size: int) -> np.ndarray:
    """Classes, or values, for the test part: (N,), (N, T) or, decoded greedily, (N, U)."""
    found = []
    with torch.no_grad():
        for batch in batches(data.test, size, model.device, shape=data.shape):
            if data.shape == TO_SEQUENCE:
                answer = model.decode(batch, data.test.y.shape[1]).T
            else:
                answer = model.answer(batch)
                answer = answer if data.classes is None else answer.argmax(-1)
                answer = answer if data.shape == MANY_TO_ONE else answer.transpose(0, 1)
            found.append(padded(answer[: batch.count].cpu().numpy(), data.test.y.shape))
    return np.concatenate(found)


def padded(answer: np.ndarray, like: tuple[int, ...]) -> np.ndarray:
    """As many steps as the targets have, zeros at the end: batches are cut to their longest sequence."""
    if answer.ndim < 2 or answer.shape[1] >= like[1] or len(like) == 1:
        return answer
    widths = [(0, 0), (0, like[1] - answer.shape[1]), *[(0, 0)] * (answer.ndim - 2)]
    return np.pad(answer, widths)
