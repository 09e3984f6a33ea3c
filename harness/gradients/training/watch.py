"""What happens to a model's gradients: backward, clipping, unscaling and step make the rows."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .measured import clamped_product, non_finite, norm_of, norms_of, total
from .reach import Reach
from .seen import Seen, clip_norm, note, same
from .updates import Gradients, Row

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Clip:
    """One call of a clipping function: the parameters' ids, norms before and after, and what was called."""

    covered: frozenset[int]
    norm: float
    kept: float
    angle: float
    call: tuple[str, float]


class Watch:
    """Follows each parameter's gradient, and makes a row of what an optimiser gets."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.gradients = Gradients()
        self.names: dict[int, str] = {}
        self.seen: dict[int, Seen] = {}
        self.pending: list[Clip] = []
        self.bad: dict[str, int] = {}
        self.owned: set[int] = set()  # parameters of an optimiser that stepped
        self.carried: dict[int, float | Tensor] = {}
        self.hooks: dict[int, list[Any]] = {}
        self.clipping = False
        self.hand = ByHand(self)
        self.refresh()

    @property
    def rows(self) -> list[Row]:
        return self.gradients.rows

    def refresh(self) -> None:
        """Takes in parameters that came, were materialised or thawed since."""
        for name, p in self.model.named_parameters():
            name = name.replace("_orig_mod.", "")  # what torch.compile puts before a name
            self.names[id(p)] = name
            reach = self.gradients.parameters.setdefault(name, Reach())
            reach.frozen &= not p.requires_grad
            if id(p) not in self.hooks and p.requires_grad and p.is_leaf and not _lazy(p):
                self.hooks[id(p)] = [
                    p.register_hook(functools.partial(self.before_arrival, p)),
                    p.register_post_accumulate_grad_hook(self.arrival),
                ]

    def of(self, optimiser: Any) -> list[nn.Parameter]:
        """The parameters of an optimiser that are the model's."""
        self.refresh()
        groups = getattr(optimiser, "param_groups", [])
        return [p for group in groups for p in group["params"] if id(p) in self.names]

    def before_arrival(self, p: nn.Parameter, _: Tensor) -> None:
        self.carried[id(p)] = 0.0 if p.grad is None else norm_of(p.grad)

    def arrival(self, p: nn.Parameter) -> None:
        """A backward has reached a parameter."""
        self.gradients.parameters[self.names[id(p)]].reached = True
        self.hand.arrival(p)
        if p.grad is None:  # an optimiser inside this backward was here first
            return
        norm = norm_of(p.grad)
        self.seen.setdefault(id(p), Seen(norm, norm)).arrive(norm, self.carried.get(id(p), 0.0))

    def around(self, clip: Callable, by_value: bool = False) -> Callable:
        """A clipping function that is watched; what it calls in turn is part of it."""
        signature = inspect.signature(clip)

        @functools.wraps(clip)
        def watched(*args: Any, **kwargs: Any) -> Any:
            if self.clipping:
                return clip(*args, **kwargs)
            given = signature.bind(*args, **kwargs).arguments
            given["parameters"] = _listed(given["parameters"])
            limit = float(list(given.values())[1])
            mine = [p for p in given["parameters"] if id(p) in self.names]
            before = self.enter_clip(mine, (clip.__name__, limit))
            products = {
                id(p): clamped_product(p.grad, limit, before[id(p)])
                for p in mine
                if by_value and p.grad is not None
            }
            self.clipping = True
            try:
                returned = clip(**given)
            finally:
                self.clipping = False
            self.leave_clip(mine, before, products, (clip.__name__, limit))
            return returned

        return watched

    def enter_clip(self, params: list[nn.Parameter], call: tuple[str, float]) -> dict[int, float]:
        """The gradients' norms; an earlier clipping whose update they are not was skipped."""
        self.refresh()
        self.hand.flush()
        norms = norms_of(params)
        overlap = [c for c in self.pending if c.covered & norms.keys()]
        if any(self.anew(c, norms, call) for c in overlap):
            self.flush("skipped")
        self.pending = [c for c in self.pending if c not in overlap]
        for p in params:
            norm, known = norms[id(p)], self.seen.get(id(p))
            if known is None or not same(float(known.now), norm, 1e-12):
                self.seen[id(p)] = Seen(norm, norm)  # set or changed by hand since the backward
            if not math.isfinite(norm):
                self.bad[self.names[id(p)]] = non_finite(p.grad)
        return norms

    def anew(self, last: Clip, norms: dict[int, float], call: tuple[str, float]) -> bool:
        """Whether gradients that were clipped before are those of another update."""
        for key in last.covered & norms.keys():
            seen = self.seen.get(key)
            if seen is None or (seen.late and not float(seen.carried)):
                return True
            if not seen.late and not same(float(seen.now), norms[key], 1e-12):
                return True
        return not any(s.late for k in last.covered if (s := self.seen.get(k))) and last.call == call

    def leave_clip(
        self,
        params: list[nn.Parameter],
        before: dict[int, float],
        products: dict[int, float],
        call: tuple[str, float],
    ) -> None:
        after = norms_of(params)
        for key, kept in after.items():
            seen = self.seen[key]
            if key in products and before[key] * kept > 0:
                seen.cosine *= products[key] / before[key] / kept
            seen.now = seen.clip = kept
            seen.late, seen.scale = False, 1.0
        if any(p.grad is not None for p in params):
            seen_of = {key: self.seen[key] for key in after}
            norm, kept = total(float(s.before) for s in seen_of.values()), total(after.values())
            self.pending.append(Clip(frozenset(after), norm, kept, angle(seen_of, after), call))

    def unscale(self, params: Iterable[nn.Parameter], factor: float) -> None:
        """The gradients were multiplied by a factor that takes the loss scale out of them."""
        for p in params:
            if id(p) in self.seen:
                self.seen[id(p)].unscale(factor)

    def row(self, params: list[nn.Parameter], optimiser: str, outcome: str = "", factor: float = 1.0) -> Row:
        """The row of an update by these parameters' gradients, times a factor that the optimiser puts in."""
        self.unscale(params, factor)
        kept = {key: norm * factor for key, norm in norms_of(params).items()}
        seen = {key: self.seen.get(key) or Seen(norm, norm) for key, norm in kept.items()}
        self.seen = {key: s for key, s in self.seen.items() if key not in kept}
        bad, spread = self.not_finite(params, seen, kept)
        norm, got = total(float(s.before) for s in seen.values()), total(kept.values())
        outcome = outcome or _outcome(bool(bad), spread, norm, got)
        clipped = outcome in ("zeroed", "poisoned") or got < norm * (1 - 1e-6)
        self.pending = [c for c in self.pending if not c.covered & kept.keys()]
        for p in params:
            self.bad.pop(self.names[id(p)], None)
        return Row(
            len(self.rows) + 1,
            norm,
            got,
            angle(seen, kept),
            clipped,
            bad,
            outcome,
            optimiser,
            clip_norm(seen.values()),
            1,
            "" if outcome == "skipped" else note(seen, kept),
        )

    def not_finite(
        self, params: list[nn.Parameter], seen: dict[int, Seen], kept: dict[int, float]
    ) -> tuple[dict[str, int], bool]:
        """(entries that are not finite by parameter, whether they spread from there to other parameters)."""
        ill = [p for p in params if not math.isfinite(float(seen[id(p)].before))]
        spread = bool(ill) and any(
            math.isfinite(float(seen[id(p)].before)) and not math.isfinite(kept[id(p)]) for p in params
        )
        ill = ill or [p for p in params if not math.isfinite(kept[id(p)])]
        names = {self.names[id(p)]: p for p in ill}
        return {name: self.bad.get(name) or non_finite(p.grad) for name, p in names.items()}, spread

    def flush(self, outcome: str) -> None:
        """One row of the clippings that no step followed."""
        if not self.pending:
            return
        norm, kept = total(c.norm for c in self.pending), total(c.kept for c in self.pending)
        clipped = kept < norm * (1 - 1e-6) or not math.isfinite(kept)
        covered = frozenset().union(*(c.covered for c in self.pending))
        bad = {name: self.bad.pop(name) for key in covered if (name := self.names[key]) in self.bad}
        turned = max(c.angle for c in self.pending) if len(self.pending) == 1 else math.nan
        self.rows.append(Row(len(self.rows) + 1, norm, kept, turned, clipped, bad, outcome, clip_norm=kept))
        self.pending = []

    def end(self) -> None:
        """Nothing more is watched; what no step followed becomes a row."""
        self.hand.end()
        self.flush("skipped")
        for handle in (h for handles in self.hooks.values() for h in handles):
            handle.remove()


class ByHand:
    """Finds parameters that changed although no optimiser of torch stepped, by their norms."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.values: dict[int, float] = {}
        self.changed: dict[int, tuple[float, float]] = {}

    def arrival(self, p: nn.Parameter) -> None:
        """Looks at a parameter, whose last gradient is still what was seen of it."""
        if id(p) in self.watch.owned:
            return
        if id(p) in self.changed:
            self.flush()
        self.look(p)
        self.values[id(p)] = float(norm_of(p))

    def look(self, p: nn.Parameter) -> None:
        seen = self.watch.seen.get(id(p))
        if seen and id(p) in self.values and float(norm_of(p)) != self.values[id(p)]:
            self.changed[id(p)] = float(seen.before), float(seen.now)

    def flush(self) -> None:
        if not self.changed:
            return
        norm, kept = (total(each) for each in zip(*self.changed.values(), strict=True))
        why = "parameters changed without a step of torch.optim, so what they were changed by is not known"
        rows = self.watch.rows
        turned = 0.0 if norm == kept else math.nan
        words = f"the norm seen last was {kept:.3g}: {why}"
        rows.append(
            Row(len(rows) + 1, norm, kept, turned, kept < norm * (1 - 1e-6), {}, "", "by hand", note=words)
        )
        for key in self.changed:
            reach = self.watch.gradients.parameters[self.watch.names[key]]
            reach.stepped, reach.nonzero = reach.stepped + 1, reach.nonzero + (self.changed[key][1] != 0)
        # a clipping before the change is part of it, and no skipped update
        self.watch.pending = [c for c in self.watch.pending if not c.covered & self.changed.keys()]
        self.changed = {}

    def end(self) -> None:
        self.flush()
        for p in self.watch.model.parameters():
            if id(p) in self.values and id(p) not in self.watch.owned:
                self.look(p)
        self.flush()


def angle(seen: dict[int, Seen], kept: dict[int, float]) -> float:
    """Between the gradients before clipping and those kept, radians; NaN where that is not known."""
    norm, got = total(float(s.before) for s in seen.values()), total(kept.values())
    if not (0 < norm < math.inf and 0 < got < math.inf):
        return 0.0 if norm == got else math.nan
    if not all(same(float(s.now), kept[key]) for key, s in seen.items()):
        return math.nan
    cosine = math.fsum(s.cosine * (float(s.before) / norm) * (kept[key] / got) for key, s in seen.items())
    return math.acos(max(cosine, -1.0)) if cosine < 1 - 1e-12 else 0.0


def _outcome(bad: bool, spread: bool, norm: float, kept: float) -> str:
    if kept == 0 and norm != 0:
        return "zeroed"
    if spread:
        return "poisoned"
    return "passed on" if bad and not math.isfinite(kept) else ""


def _listed(parameters: Any) -> list[nn.Parameter]:
    """An iterator can be read once only, and torch's functions read it too."""
    from torch import Tensor

    single: Any = [parameters] if isinstance(parameters, Tensor) else parameters
    return list(single)


def _lazy(p: nn.Parameter) -> bool:
    from torch.nn.parameter import is_lazy

    return bool(is_lazy(p))
