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
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .norm import total_norm

if TYPE_CHECKING:
    from torch import Tensor, nn


SMALL = 1_000_000  # entries up to which gradients are put side by side for their norm


@dataclass(frozen=True)
class Row:
    """One update. norm, kept_norm: of all gradients before and after clipping, float64; angle between the
    two, radians.

    non_finite: entries by parameter; outcome: '' where all was finite, else what became of the update:
    'passed on' (not clipped), 'zeroed' (torch's norm overflowed, so that every gradient became 0), 'poisoned'
    (a NaN spread to all), 'skipped' (no step).
    """

    step: int
    norm: float
    kept_norm: float
    angle: float
    clipped: bool
    non_finite: dict[str, int]
    outcome: str


@dataclass
class Gradients:
    """Rows in order, and what they come to. A row is one call of an optimiser's step, or a clipping that no
    step followed.
    """

    rows: list[Row] = field(default_factory=list)

    @property
    def fraction_clipped(self) -> float:
        """Of the updates; NaN where there was none."""
        return sum(r.clipped for r in self.rows) / len(self.rows) if self.rows else math.nan

    @property
    def lost_impulse(self) -> float:
        """1 - sum of kept norms / sum of norms, over the rows in which both are finite."""
        both = [
            (r.norm, r.kept_norm) for r in self.rows if math.isfinite(r.norm) and math.isfinite(r.kept_norm)
        ]
        whole = math.fsum(n for n, _ in both)
        return 1 - math.fsum(k for _, k in both) / whole if whole else 0.0

    @property
    def non_finite(self) -> Counter[str]:
        """Updates in which a parameter's gradient held what is not finite, by its name."""
        return Counter(name for r in self.rows for name in r.non_finite)

    @property
    def outcomes(self) -> Counter[str]:
        """How often what was not finite was passed on, zeroed, poisoned or skipped."""
        return Counter(r.outcome for r in self.rows if r.outcome)

    def to_dicts(self) -> list[dict[str, Any]]:
        """Plain rows, for a table or a logger."""
        return [{**vars(r), "non_finite": dict(r.non_finite)} for r in self.rows]

    def to_tensorboard(self, writer: Any, prefix: str = "gradient") -> None:
        """Scalars by update to a SummaryWriter, or to a new one in the folder of that name.

        Raises ValueError where a folder is given and torch.utils.tensorboard cannot be imported.
        """
        if isinstance(writer, (str, Path)):
            with _summary_writer(writer) as made:
                return self.to_tensorboard(made, prefix)
        for r in self.rows:
            numbers = {
                "norm": r.norm,
                "kept_norm": r.kept_norm,
                "angle": r.angle,
                "clipped": float(r.clipped),
            }
            for name, value in {**numbers, "non_finite": float(sum(r.non_finite.values()))}.items():
                writer.add_scalar(f"{prefix}/{name}", value, r.step)
        return None

    def __str__(self) -> str:
        norms = sorted(r.norm for r in self.rows if math.isfinite(r.norm))
        middle = (
            f"median norm {norms[len(norms) // 2]:.3g}, largest {norms[-1]:.3g}"
            if norms
            else "no finite norm"
        )
        angle = max((r.angle for r in self.rows if math.isfinite(r.angle)), default=0.0)
        bad = ", ".join(f"{name} {count}" for name, count in self.non_finite.most_common()) or "none"
        clipping = (
            f"{self.fraction_clipped:.1%} clipped, {self.lost_impulse:.1%} of the impulse lost, angle up to"
            f" {angle:.3f}"
        )
        return f"{len(self.rows)} updates: {middle}; {clipping}; updates not finite by parameter: {bad}"


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
        yield watch.found
    finally:
        for space, name, old in before:
            space[name] = old
        handle.remove()
        watch.flush("skipped")


@dataclass(frozen=True)
class _Clip:
    """One call of a clipping function: norms before and after, their inner product, and which gradients it
    covered.
    """

    covered: frozenset[int]
    norm: float
    kept: float
    product: float
    outcome: str


class _Watch:
    def __init__(self, model: nn.Module) -> None:
        self.names = {id(p): name for name, p in model.named_parameters()}
        self.params = list(model.parameters())
        self.found = Gradients()
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
        """A clipping of gradients that were clipped already belongs to the next update; the last one was
        skipped.
        """
        if any(c.covered & set(map(id, given)) for c in self.pending):
            self.flush("skipped")

    def _close(self, outcome: str) -> None:
        covered = frozenset().union(*(c.covered for c in self.pending))
        rest = [p for p in self.params if p.grad is not None and id(p) not in covered]
        other = self._norm(rest) if rest else 0.0
        norm = math.hypot(other, *(c.norm for c in self.pending))
        kept = math.hypot(other, *(c.kept for c in self.pending))
        found = outcome or next(
            (c.outcome for c in self.pending if c.outcome), "passed on" if self.bad else ""
        )
        clipped = any(
            c.kept < c.norm * (1 - 1e-9) or c.outcome in ("zeroed", "poisoned") for c in self.pending
        )
        angle = self._angle(other, norm, kept)
        self.found.rows.append(Row(len(self.found.rows) + 1, norm, kept, angle, clipped, self.bad, found))
        self.pending, self.bad = [], {}

    def _angle(self, other: float, norm: float, kept: float) -> float:
        if not (0 < norm < math.inf and 0 < kept < math.inf):
            return 0.0 if norm == kept else math.nan
        cosine = sum(c.product / norm / kept for c in self.pending) + other / norm * (other / kept)
        return math.acos(min(max(cosine, -1.0), 1.0)) if cosine < 1 - 1e-12 else 0.0

    def _norm(self, params: list[nn.Parameter]) -> float:
        """Over the parameters' gradients; what is not finite is noted by name."""
        import torch

        grads = [p.grad for p in params if p.grad is not None]
        if not grads:
            return 0.0
        norm = _plain_norm([_dense(g) for g in grads])
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
    """(norm after, outcome) of torch's clipping by norm, from the norm that it returned and the coefficient
    that this gave.
    """
    if math.isnan(returned) or (bad and not math.isfinite(returned)):
        return math.nan, "poisoned"
    if math.isinf(returned):
        return 0.0, "zeroed"
    return norm * coefficient, "passed on" if bad else ""


def _by_value(grads: list[Any], limit: float, norm: float) -> tuple[float, float]:
    """(norm after, inner product with what was before) of clamping to +-limit; in float64, scaled by the norm
    before.
    """
    if not grads or not 0 < norm < math.inf:
        return norm, norm * norm
    parts = []
    for g in grads:
        unit = _dense(g.detach()).double() / norm
        cut = unit.clamp(-limit / norm, limit / norm)
        parts.append((float((cut * cut).sum()), float((cut * unit).sum())))
    return norm * math.sqrt(math.fsum(a for a, _ in parts)), norm * norm * math.fsum(b for _, b in parts)


def _plain_norm(grads: list[Tensor]) -> float:
    """In float64, not scaled. Few small gradients side by side cost one call instead of one each."""
    import torch

    if sum(g.numel() for g in grads) < SMALL and len({(g.dtype, g.device) for g in grads}) == 1:
        return float(torch.linalg.vector_norm(torch.cat([g.reshape(-1) for g in grads]), dtype=torch.float64))
    parts = [torch.linalg.vector_norm(g, dtype=torch.float64).to(grads[0].device) for g in grads]
    return float(torch.linalg.vector_norm(torch.stack(parts)))


def _dense(gradient: Tensor) -> Tensor:
    return gradient.coalesce().values() if gradient.is_sparse else gradient


def _holders(function: Any) -> list[tuple[Any, str]]:
    """(module, name) wherever a loaded module holds the function."""
    modules = [m for m in list(sys.modules.values()) if hasattr(m, "__dict__")]
    return [(m, name) for m in modules for name, value in list(vars(m).items()) if value is function]


@contextmanager
def _summary_writer(folder: str | Path) -> Iterator[Any]:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ValueError(
            "there is no tensorboard here; `pip install tensorboard`, or take the rows with to_dicts()"
        ) from None
    writer = SummaryWriter(str(folder))
    try:
        yield writer
    finally:
        writer.close()
