"""The gradient of a recorded forward pass, step by step from the end, rescaled at each so that nothing under-
or overflows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.autograd import grad

from .replay import Recording, Step


@dataclass(frozen=True)
class Pullback:
    """Of one loss term. log_norm and log_reach (steps, B), by time: the joint state's and the input's
    gradient, natural log.

    cotangents: what each step's `made` got, in true size (it may underflow), for gradients of parameters.
    """

    log_norm: np.ndarray
    log_reach: np.ndarray
    cotangents: list[list[Tensor]]


def pull(recording: Recording, d_output: Tensor) -> Pullback:
    """From a cotangent of the model's output."""
    steps = recording.steps
    norms, reach, cotangents = [], [], []
    for step, unit, log_scale, d_input in _walk(recording, _read_out(recording, d_output)):
        norms.append(log_scale + _log(_norm(_state_part(step, unit), len(log_scale))))
        reach.append(
            log_scale + _log(_norm([d_input] if d_input is not None else [], len(log_scale)).to(log_scale))
        )
        cotangents.append([_scaled(d, torch.exp(log_scale)) for d in unit])
    assert len(norms) == len(steps)
    return Pullback(_stack(norms), _stack(reach), cotangents[::-1])


def parameter_gradient(
    recording: Recording, cotangents: list[list[Tensor]], times: list[int], rows: Tensor, params: list[Tensor]
) -> Tensor:
    """Flat: what the steps at `times` contribute to the gradient of params, summed over the samples where
    rows (B,) is 1.
    """
    outputs, d_outputs = [], []
    for t in times:
        for m, d in zip(recording.steps[t].made, cotangents[t], strict=True):
            if m.requires_grad:
                outputs.append(m)
                d_outputs.append(_scaled(d, rows))
    found = (
        grad(outputs, params, d_outputs, retain_graph=True, allow_unused=True)
        if outputs
        else [None] * len(params)
    )
    return torch.cat(
        [
            torch.zeros_like(p).flatten() if g is None else g.flatten()
            for g, p in zip(found, params, strict=True)
        ]
    )


def _read_out(recording: Recording, d_output: Tensor) -> list[list[Tensor]]:
    """What each step's `kept` gets directly from the output."""
    kept = [k for step in recording.steps for k in step.kept]
    found = iter(grad(recording.output, kept, d_output, retain_graph=True, allow_unused=True))
    return [[_or_zero(next(found), k) for k in step.kept] for step in recording.steps]


def _walk(
    recording: Recording, direct: list[list[Tensor]]
) -> Iterator[tuple[Step, list[Tensor], Tensor, Tensor | None]]:
    """From the last step to the first: the step, the cotangents of `made` scaled, the log of the scale, and
    the input's.
    """
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


def _step_back(step: Step, unit: list[Tensor], before: list[Tensor]) -> tuple[list[Tensor], Tensor | None]:
    pairs = [(m, d) for m, d in zip(step.made, unit, strict=True) if m.requires_grad]
    sources = [*before, *([] if step.nudge is None else [step.nudge])]
    if not pairs or not sources:
        return [torch.zeros_like(b) for b in before], None
    found = grad([m for m, _ in pairs], sources, [d for _, d in pairs], retain_graph=True, allow_unused=True)
    d_before = [_or_zero(g, b) for g, b in zip(found, before, strict=False)]
    return d_before, None if step.nudge is None else _or_zero(found[-1], step.nudge)


def _state_part(step: Step, unit: list[Tensor]) -> list[Tensor]:
    """The states' own cotangents, and what comes to them through an output that was computed from them in the
    step.
    """
    states = [step.made[k] for k in step.states]
    own = [unit[k] for k in step.states]
    rest = [k for k in range(len(step.made)) if k not in step.states and step.made[k].requires_grad]
    if not any(bool((unit[k] != 0).any()) for k in rest):
        return own
    whole = _through([step.made[k] for k in rest], [unit[k] for k in rest], states)
    return [o if g is None else o + g for o, g in zip(own, _apart(states, whole), strict=True)]


def _apart(states: list[Tensor], whole: list[Tensor | None]) -> list[Tensor | None]:
    """Gradients at each state for itself: one that reaches c by way of h = o tanh(c) is the gradient of h
    alone.
    """
    found: dict[int, Tensor | None] = {}
    while len(found) < len(states):
        left = [k for k in range(len(states)) if k not in found]
        k = next(k for k in left if not any(_feeds(states[k], states[j]) for j in left if j != k))
        passed = [_through([states[j]], [d], [states[k]])[0] for j, d in found.items() if d is not None]
        mine = whole[k]
        found[k] = None if mine is None else mine - sum(p for p in passed if p is not None)
    return [found[k] for k in range(len(states))]


def _feeds(source: Tensor, end: Tensor) -> bool:
    return _through([end], [torch.ones_like(end)], [source])[0] is not None


def _through(ends: list[Tensor], cotangents: list[Tensor], sources: list[Tensor]) -> list[Tensor | None]:
    """Gradients at sources; None where one has no part in the ends."""
    known = [s for s in sources if s.requires_grad]
    if not known or not all(e.requires_grad for e in ends):
        return [None] * len(sources)
    found = iter(grad(ends, known, cotangents, retain_graph=True, allow_unused=True))
    return [next(found) if s.requires_grad else None for s in sources]


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
    zero = factor.reshape(-1, *[1] * (tensor.ndim - 1 - axis))
    return torch.where(zero == 0, torch.zeros_like(tensor), tensor * zero)


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


def _or_zero(found: Tensor | None, like: Tensor) -> Tensor:
    return torch.zeros_like(like) if found is None else found


def _stack(rows: list[Tensor]) -> np.ndarray:
    return torch.stack(rows[::-1]).cpu().numpy()
