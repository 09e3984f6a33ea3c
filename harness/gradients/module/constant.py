"""The loss of the best constant answer: one that is the same for all samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .answers import Answers
from .loss import REFUSALS

ROUNDS = 100  # of L-BFGS
SETTLED = 1e-3  # share of the loss by which the second half of the rounds may still lower it
NEAR = 1e-4  # by which outputs may miss the set that they are taken to lie in


def trivial_loss(answers: Answers) -> tuple[float, Answers]:
    """The least mean loss of an answer that is the same for all samples, and that answer.

    Each position has an answer of its own where all batches have the same. The search starts from the
    targets' mean, median, log-odds or shares of classes (the best for the squared, the absolute and the
    logistic error and cross-entropy) and goes on by L-BFGS, for weights of classes, smoothed labels and
    targets that are ignored. Raises ValueError where a loss has no least value.
    """
    rows = answers.outputs()
    shared = len({len(r[0]) for r in rows}) > 1 or any(p.loss.starts for p in answers.pieces)
    domain = _domain(answers, rows)
    known = _least(answers, [domain.onto(domain.back(c)) for c in _candidates(answers, rows, shared)])
    start = known or _least(answers, [_mean(rows, shared)])
    found = None if start is None else _lowered(answers, domain, start[1])
    if found is not None and (known is None or found[0] < known[0]):
        return found[0], answers.constant(found[1])
    if known is not None:
        return known[0], answers.constant(known[1])
    shapes = f"outputs of shape {tuple(answers.pieces[0].output.shape)}"
    raise ValueError(
        f"no constant answer with a least loss is known for {shapes}; give its loss with trivial="
    )


@dataclass(frozen=True)
class Domain:
    """Where outputs lie: a map from free numbers onto it, and back."""

    onto: Callable[[Tensor], Tensor]
    back: Callable[[Tensor], Tensor]


def _same(t: Tensor) -> Tensor:
    return t


def _domain(answers: Answers, rows: list[Tensor]) -> Domain:
    """Log-probabilities, probabilities, numbers between 0 and 1, or anything; by all outputs (B, P, K).

    Outputs may lie between 0 and 1 by chance: a loss that takes a 2 as well as a -1 takes anything.
    """
    flat = torch.cat([r.flatten(0, 1) for r in rows])
    if flat.shape[1] > 1 and float(torch.logsumexp(flat, 1).abs().max()) < NEAR:
        return Domain(lambda u: torch.log_softmax(u, -1), _same)
    inside = float(flat.min()) >= 0 and float(flat.max()) <= 1
    if inside and flat.shape[1] > 1 and float((flat.sum(1) - 1).abs().max()) < NEAR:
        return Domain(lambda u: torch.softmax(u, -1), lambda p: torch.log(p.clamp_min(1e-12)))
    beyond = [torch.full_like(rows[0][:1, :1], v) for v in (2.0, -1.0)]
    if inside and not all(np.isfinite(_value(answers, c)) for c in beyond):
        return Domain(torch.sigmoid, lambda p: torch.logit(p, 1e-12))
    return Domain(_same, _same)


def _least(answers: Answers, constants: list[Tensor]) -> tuple[float, Tensor] | None:
    """(loss, constant) of the best; None where the loss takes none of them."""
    values = [(_value(answers, c), c) for c in constants]
    return min((v for v in values if np.isfinite(v[0])), key=lambda v: v[0], default=None)


def _value(answers: Answers, constant: Tensor) -> float:
    try:
        return answers.constant(constant).average()
    except REFUSALS:  # a loss that takes probabilities alone refuses the others
        return float("nan")


def _lowered(answers: Answers, domain: Domain, start: Tensor) -> tuple[float, Tensor] | None:
    """(loss, constant) where L-BFGS ends; None where it does not settle, as for a loss without a bound."""
    free = domain.back(start).detach().clone().requires_grad_()
    optimiser = torch.optim.LBFGS([free], max_iter=ROUNDS // 2, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        total: Tensor = answers.constant(domain.onto(free)).total() / answers.count
        total.backward()
        return total.detach()

    history = []
    with torch.enable_grad():
        for _ in range(2):
            optimiser.step(closure)
            history.append(_value(answers, domain.onto(free).detach()))
    settled = abs(history[0] - history[1]) <= SETTLED * max(abs(history[1]), 1e-6)
    return (history[1], domain.onto(free).detach()) if settled else None


def _mean(rows: list[Tensor], shared: bool) -> Tensor:
    """The mean output."""
    if shared:
        return torch.cat([r.flatten(0, 1) for r in rows]).mean(0)[None, None]
    return torch.cat(rows).mean(0, keepdim=True)


def _candidates(answers: Answers, rows: list[Tensor], shared: bool) -> list[Tensor]:
    """(1, P, K), or (1, 1, K) where batches differ in their positions, from the targets."""
    targets = [answers.first_target(piece, r) for piece, r in zip(answers.pieces, rows, strict=True)]
    if any(t is None for t in targets):
        return []
    known = [t for t in targets if t is not None]
    if shared:  # every position of every sample is a row of its own
        known = [
            t[p.within(t.shape[1])].reshape(-1, 1, *t.shape[2:])
            for p, t in zip(answers.pieces, known, strict=True)
        ]
    return _constants(torch.cat(known), rows[0])


def _constants(target: Tensor, like: Tensor) -> list[Tensor]:
    """From targets (B, P) of classes, or (B, P, K)."""
    if target.ndim == 2:
        width = like.shape[2]
        counts = torch.stack([(target == k).sum(0) for k in range(width)], -1).to(like.dtype)
        shares = (counts / counts.sum(-1, keepdim=True).clamp_min(1))[None]
        return [*_of_shares(shares), (shares > 0.5).to(like.dtype)]
    values = target.to(like.dtype)
    mean = values.mean(0, keepdim=True)
    of_shares = _of_shares(mean) if float(values.min()) >= 0 and float(values.max()) <= 1 else [mean]
    return [*of_shares, values.median(0, keepdim=True).values]


def _of_shares(shares: Tensor) -> list[Tensor]:
    """As they are, as log-probabilities and as log-odds."""
    inside = shares.clamp(1e-12, 1 - 1e-12)
    return [shares, torch.log(inside), torch.log(inside) - torch.log1p(-inside)]
