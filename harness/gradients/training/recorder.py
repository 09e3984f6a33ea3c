"""Records gradients and clipping while someone else's training loop runs.

    with record(model) as gradients:
        ...  # backward, torch.nn.utils.clip_grad_norm_ or clip_grad_value_, optimiser.step(), as ever
    print(gradients)

torch is imported when a recording begins.
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .norm import total_norm
from .updates import Gradients, Row

if TYPE_CHECKING:
    from torch import Tensor, nn


SMALL = 1_000_000  # entries up to which gradients are put side by side for their norm


@contextmanager
def record(model: nn.Module) -> Iterator[Gradients]:
    """Records every update of the model's parameters inside the context.

    Norms are float64 sums, so that float32 gradients of 1e20 do not overflow. torch.nn.utils.clip_grad_norm_
    and clip_grad_value_ are watched wherever a loaded module holds them; a copy kept elsewhere (in an object,
    under another clipping) is not seen, and such an update counts as not clipped. On a GPU each update waits
    for its norm.
    """
    from torch.nn.utils import clip_grad_norm_, clip_grad_value_
    from torch.optim.optimizer import register_optimizer_step_pre_hook

    watch = _Watch(model)
    replacements = [
        (clip_grad_norm_, watch.around_norm(clip_grad_norm_)),
        (clip_grad_value_, watch.around_value(clip_grad_value_)),
    ]
    handle = register_optimizer_step_pre_hook(watch.on_step)
    places = [(vars(m), name, new) for old, new in replacements for m, name in _holders(old)]
    before = [(space, name, space[name]) for space, name, _ in places]
    try:
        for space, name, new in places:
            space[name] = new
        yield watch.gradients
    finally:
        for space, name, old in before:
            space[name] = old
        handle.remove()
        watch.flush("skipped")


@dataclass(frozen=True)
class _Clip:
    """One call of a clipping function: norms before and after, their inner product, the gradients' ids."""

    covered: frozenset[int]
    norm: float
    kept: float
    product: float
    outcome: str


class _Watch:
    """Gathers the clippings of an update, and closes its row at the optimiser's step."""

    def __init__(self, model: nn.Module) -> None:
        self.names = {id(p): name for name, p in model.named_parameters()}
        self.params = list(model.parameters())
        self.gradients = Gradients()
        self.pending: list[_Clip] = []
        self.bad: dict[str, int] = {}
        self.mine: dict[int, bool] = {}

    def around_norm(self, clip: Callable) -> Callable:
        @functools.wraps(clip)
        def watched(parameters: Any, max_norm: float, *rest: Any, **more: Any) -> Any:
            parameters = _listed(parameters)
            given = [p for p in parameters if p.grad is not None and id(p) in self.names]
            self._begin(given)
            norm = self._norm(given)
            returned = clip(parameters, max_norm, *rest, **more)
            if given:
                coefficient = min(float(max_norm) / (float(returned) + 1e-6), 1.0)
                kept, outcome = _after(norm, float(returned), coefficient, bool(self.bad))
                self.pending.append(_Clip(frozenset(map(id, given)), norm, kept, norm * kept, outcome))
            return returned

        return watched

    def around_value(self, clip: Callable) -> Callable:
        @functools.wraps(clip)
        def watched(parameters: Any, clip_value: float, *rest: Any, **more: Any) -> Any:
            parameters = _listed(parameters)
            given = [p for p in parameters if p.grad is not None and id(p) in self.names]
            self._begin(given)
            norm = self._norm(given)
            kept, product = _by_value([p.grad for p in given], float(clip_value), norm)
            returned = clip(parameters, clip_value, *rest, **more)
            if given:
                self.pending.append(
                    _Clip(frozenset(map(id, given)), norm, kept, product, "passed on" if self.bad else "")
                )
            return returned

        return watched

    def on_step(self, optimiser: Any, *_: Any) -> None:
        """Closes the row of an update; of an optimiser of other parameters nothing is recorded."""
        if id(optimiser) not in self.mine:
            self.mine[id(optimiser)] = any(
                id(p) in self.names for g in optimiser.param_groups for p in g["params"]
            )
        if self.mine[id(optimiser)]:
            self._close("")

    def flush(self, outcome: str) -> None:
        """Clippings that no step followed."""
        if self.pending:
            self._close(outcome)

    def _begin(self, given: list[nn.Parameter]) -> None:
        """Closes the last update as skipped where its gradients are clipped again: this is the next one."""
        if any(c.covered & set(map(id, given)) for c in self.pending):
            self.flush("skipped")

    def _close(self, outcome: str) -> None:
        covered = frozenset().union(*(c.covered for c in self.pending))
        rest = [p for p in self.params if p.grad is not None and id(p) not in covered]
        other = self._norm(rest) if rest else 0.0
        norm = math.hypot(other, *(c.norm for c in self.pending))
        kept = math.hypot(other, *(c.kept for c in self.pending))
        from_clips = (c.outcome for c in self.pending if c.outcome)
        outcome = outcome or next(from_clips, "passed on" if self.bad else "")
        clipped = any(
            c.kept < c.norm * (1 - 1e-9) or c.outcome in ("zeroed", "poisoned") for c in self.pending
        )
        angle = self._angle(other, norm, kept)
        rows = self.gradients.rows
        rows.append(Row(len(rows) + 1, norm, kept, angle, clipped, self.bad, outcome))
        self.pending, self.bad = [], {}

    def _angle(self, other: float, norm: float, kept: float) -> float:
        if not (0 < norm < math.inf and 0 < kept < math.inf):
            return 0.0 if norm == kept else math.nan
        cosine = sum(c.product / norm / kept for c in self.pending) + other / norm * (other / kept)
        return math.acos(min(max(cosine, -1.0), 1.0)) if cosine < 1 - 1e-12 else 0.0

    def _norm(self, params: list[nn.Parameter]) -> float:
        """Over the parameters' gradients; entries that are not finite are noted by name."""
        import torch

        grads = [p.grad for p in params if p.grad is not None]
        if not grads:
            return 0.0
        norm = _plain_norm([_dense(g) for g in grads])
        # below 1e-150 squares of float64 entries may have underflowed, where those of narrower dtypes cannot
        if math.isfinite(norm) and (norm > 1e-150 or (norm == 0 and grads[0].dtype != torch.float64)):
            return norm
        for p, g in zip(params, grads, strict=True):
            if count := int((~torch.isfinite(_dense(g))).sum()):
                self.bad[self.names[id(p)]] = count
        return total_norm(_dense(g) for g in grads)


def _listed(parameters: Any) -> list[nn.Parameter]:
    """An iterator can be read once only, and torch's functions read it too."""
    from torch import Tensor

    single: Any = [parameters] if isinstance(parameters, Tensor) else parameters
    return list(single)


def _after(norm: float, returned: float, coefficient: float, bad: bool) -> tuple[float, str]:
    """(norm after, outcome) of torch's clipping by norm, from the norm and the coefficient that it used."""
    if math.isnan(returned) or (bad and not math.isfinite(returned)):
        return math.nan, "poisoned"
    if math.isinf(returned):
        return 0.0, "zeroed"
    return norm * coefficient, "passed on" if bad else ""


def _by_value(grads: list[Any], limit: float, norm: float) -> tuple[float, float]:
    """(norm after, inner product of before and after) of clamping to +-limit, in float64."""
    if not grads or not 0 < norm < math.inf:
        return norm, norm * norm
    sums = []
    for g in grads:
        unit = _dense(g.detach()).double() / norm  # so that no square leaves the range
        cut = unit.clamp(-limit / norm, limit / norm)
        sums.append((float((cut * cut).sum()), float((cut * unit).sum())))
    return norm * math.sqrt(math.fsum(a for a, _ in sums)), norm * norm * math.fsum(b for _, b in sums)


def _plain_norm(grads: list[Tensor]) -> float:
    """In float64, not scaled. Few small gradients side by side cost one call instead of one each."""
    import torch

    if sum(g.numel() for g in grads) < SMALL and len({(g.dtype, g.device) for g in grads}) == 1:
        return float(torch.linalg.vector_norm(torch.cat([g.reshape(-1) for g in grads]), dtype=torch.float64))
    norms = [torch.linalg.vector_norm(g, dtype=torch.float64).to(grads[0].device) for g in grads]
    return float(torch.linalg.vector_norm(torch.stack(norms)))


def _dense(gradient: Tensor) -> Tensor:
    return gradient.coalesce().values() if gradient.is_sparse else gradient


def _holders(function: Any) -> list[tuple[Any, str]]:
    """(module, name) wherever a loaded module holds the function."""
    modules = [m for m in list(sys.modules.values()) if hasattr(m, "__dict__")]
    return [(m, name) for m in modules for name, value in list(vars(m).items()) if value is function]
