"""The gradient of a recorded forward pass, step by step from the end.

It is rescaled at every step, so that nothing under- or overflows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter

import numpy as np
import torch
from torch import Tensor
from torch.autograd import grad

from .recording import RecordedStep, Recording


@dataclass(frozen=True)
class Pullback:
    """The gradient of one loss term, by time.

    log_norm    (steps, B): natural log of the norm of the joint state's gradient; log_reach of the input's
    cotangents  of each step's `made` in true size (they may underflow), for gradients of parameters
    """

    log_norm: np.ndarray
    log_reach: np.ndarray
    cotangents: list[list[Tensor]]


def pull(recording: Recording, d_output: Tensor) -> Pullback:
    """From a cotangent of the model's output."""
    steps = recording.steps
    norms, reach, cotangents = [], [], []
    for step, unit, log_scale, d_input in _walk(recording, _read_out(recording, d_output)):
        norms.append(log_scale + _log(_norm(_state_gradient(step, unit), len(log_scale))))
        of_input = _norm([] if d_input is None else [d_input], len(log_scale))
        reach.append(log_scale + _log(of_input.to(log_scale)))
        cotangents.append([_scaled(d, torch.exp(log_scale)) for d in unit])
    assert len(norms) == len(steps)
    return Pullback(_stack(norms), _stack(reach), cotangents[::-1])


def parameter_gradient(
    recording: Recording, cotangents: list[list[Tensor]], times: list[int], rows: Tensor, params: list[Tensor]
) -> Tensor:
    """Flat: the contribution of the steps at `times` to the gradient of params.

    It is summed over the samples where rows (B,) is 1.
    """
    outputs, d_outputs = [], []
    for t in times:
        for m, d in zip(recording.steps[t].made, cotangents[t], strict=True):
            if m.requires_grad:
                outputs.append(m)
                d_outputs.append(_scaled(d, rows))
    if not outputs:
        return torch.cat([torch.zeros_like(p).flatten() for p in params])
    gradients = grad(outputs, params, d_outputs, retain_graph=True, allow_unused=True)
    return torch.cat([_or_zero(g, p).flatten() for g, p in zip(gradients, params, strict=True)])


def _read_out(recording: Recording, d_output: Tensor) -> list[list[Tensor]]:
    """The cotangents that each step's `kept` gets directly from the output."""
    kept = [k for step in recording.steps for k in step.kept]
    gradients = iter(grad(recording.output, kept, d_output, retain_graph=True, allow_unused=True))
    return [[_or_zero(next(gradients), k) for k in step.kept] for step in recording.steps]


def _walk(
    recording: Recording, direct: list[list[Tensor]]
) -> Iterator[tuple[RecordedStep, list[Tensor], Tensor, Tensor | None]]:
    """Last step first: (step, scaled cotangents of `made`, log of the scale, cotangent of the input)."""
    batch = recording.batch
    log_scale = direct[0][0].new_zeros(batch)
    carried = [torch.zeros_like(k) for k in recording.steps[-1].kept]
    for t in range(len(recording.steps) - 1, -1, -1):
        step = recording.steps[t]
        sizes = [_norm(carried, batch), _norm(direct[t], batch)]
        logs = [log_scale + _log(sizes[0]), _log(sizes[1])]
        log_scale = torch.maximum(*logs)
        log_scale = torch.where(torch.isfinite(log_scale), log_scale, torch.zeros_like(log_scale))
        # each is brought to norm 1 before its share of the larger: neither factor can overflow
        shares = [torch.exp(log - log_scale) for log in logs]
        unit = [
            _scaled(_scaled(c, _inverse(sizes[0])), shares[0])
            + _scaled(_scaled(d, _inverse(sizes[1])), shares[1])
            for c, d in zip(carried, direct[t], strict=True)
        ]
        before = recording.steps[t - 1].kept if t else []
        carried, d_input = _step_back(step, unit, before)
        yield step, unit, log_scale, d_input


def _step_back(
    step: RecordedStep, unit: list[Tensor], before: list[Tensor]
) -> tuple[list[Tensor], Tensor | None]:
    pairs = [(m, d) for m, d in zip(step.made, unit, strict=True) if m.requires_grad]
    sources = [*before, *([] if step.nudge is None else [step.nudge])]
    if not pairs or not sources:
        return [torch.zeros_like(b) for b in before], None
    ends, d_ends = [m for m, _ in pairs], [d for _, d in pairs]
    gradients = grad(ends, sources, d_ends, retain_graph=True, allow_unused=True)
    # the nudge, where there is one, comes after the states
    d_before = [_or_zero(g, b) for g, b in zip(gradients, before, strict=False)]
    return d_before, None if step.nudge is None else _or_zero(gradients[-1], step.nudge)


def _state_gradient(step: RecordedStep, unit: list[Tensor]) -> list[Tensor]:
    """The states' cotangents, with those of outputs that the step computed from its new states added."""
    states = [step.made[k] for k in step.states]
    direct = [unit[k] for k in step.states]
    outputs = [k for k in range(len(step.made)) if k not in step.states and step.made[k].requires_grad]
    if not any(bool((unit[k] != 0).any()) for k in outputs):
        return direct
    total = _through([step.made[k] for k in outputs], [unit[k] for k in outputs], states)
    return [d if g is None else d + g for d, g in zip(direct, _partial(states, total), strict=True)]


def _partial(states: list[Tensor], total: list[Tensor | None]) -> list[Tensor | None]:
    """Gradients with the other states held fixed, from total ones.

    autograd's gradient of c holds that of h as well where h = o tanh(c) was computed from c. States are
    taken from the last computed to the first: those computed from one come before it, and their own
    gradients, pulled back to it, are taken off.
    """
    places = range(len(states))
    after = {k: [j for j in places if j != k and _feeds(states[k], states[j])] for k in places}
    partial: dict[int, Tensor | None] = {}
    for k in TopologicalSorter(after).static_order():
        passed = [_through([states[j]], [d], [states[k]])[0] for j, d in partial.items() if d is not None]
        gradient = total[k]
        partial[k] = None if gradient is None else gradient - sum(p for p in passed if p is not None)
    return [partial[k] for k in places]


def _feeds(source: Tensor, end: Tensor) -> bool:
    """Whether the end was computed from the source."""
    return _through([end], [torch.ones_like(end)], [source])[0] is not None


def _through(ends: list[Tensor], cotangents: list[Tensor], sources: list[Tensor]) -> list[Tensor | None]:
    """Gradients at sources; None where the ends do not depend on one."""
    known = [s for s in sources if s.requires_grad]
    if not known or not all(e.requires_grad for e in ends):
        return [None] * len(sources)
    gradients = iter(grad(ends, known, cotangents, retain_graph=True, allow_unused=True))
    return [next(gradients) if s.requires_grad else None for s in sources]


def sample_rows(tensor: Tensor, batch: int) -> Tensor:
    """(B, n): a tensor with its axis of samples first, the first axis of that size."""
    axes = [k for k, n in enumerate(tensor.shape) if n == batch]
    if not axes:
        raise ValueError(
            f"a state is of shape {tuple(tensor.shape)}, which has no axis of the batch's {batch} sequences"
        )
    return tensor.movedim(axes[0], 0).reshape(batch, -1)


def _scaled(tensor: Tensor, factor: Tensor) -> Tensor:
    """A factor for each sample."""
    axis = tensor.shape.index(len(factor))
    wide = factor.reshape(-1, *[1] * (tensor.ndim - 1 - axis))
    return torch.where(wide == 0, torch.zeros_like(tensor), tensor * wide)  # 0 times inf is to be 0


def _norm(tensors: list[Tensor], batch: int) -> Tensor:
    """(B,) over all tensors, scaled by the largest entry, so that no square under- or overflows."""
    if not tensors:
        return torch.zeros(batch)
    rows = torch.cat([sample_rows(t, batch) for t in tensors], 1)
    largest = rows.abs().amax(1)
    scale = torch.where((largest > 0) & torch.isfinite(largest), largest, torch.ones_like(largest))
    return scale * torch.linalg.vector_norm(rows / scale[:, None], dim=1)


def _inverse(norm: Tensor) -> Tensor:
    return torch.where(norm > 0, 1 / norm, torch.zeros_like(norm))


def _log(norm: Tensor) -> Tensor:
    return torch.log(norm.double())


def _or_zero(gradient: Tensor | None, like: Tensor) -> Tensor:
    return torch.zeros_like(like) if gradient is None else gradient


def _stack(rows: list[Tensor]) -> np.ndarray:
    return torch.stack(rows[::-1]).cpu().numpy()
