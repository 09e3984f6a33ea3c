"""One parameter's gradient between a step and the next, and the words for what happened to it there."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .measured import total

if TYPE_CHECKING:
    from torch import Tensor

SAME = 1e-4  # relative: what float16 gradients lose where they are unscaled, and less than any clipping does


@dataclass
class Seen:
    """Norms of one parameter's gradient; a tensor is one that is not read yet.

    before    as the last backward left it
    now       as it was seen last
    cosine    of the angle between the two
    clip      as the last clipping left it; None without one
    late      whether a backward came after that clipping
    carried   what was in .grad before the last backward
    scale     the scale of the loss, where it was divided out after the clipping
    """

    before: float | Tensor
    now: float | Tensor
    cosine: float = 1.0
    clip: float | None = None
    late: bool = False
    carried: float | Tensor = 0.0
    scale: float = 1.0

    def arrive(self, norm: Tensor, carried: float | Tensor) -> None:
        """A backward has added to the gradient."""
        self.before = self.now = norm
        self.cosine, self.carried, self.late = 1.0, carried, self.clip is not None

    def unscale(self, factor: float) -> None:
        """The gradient was multiplied by a factor that takes the scale of the loss out of it."""
        self.before, self.now = self.before * factor, self.now * factor
        if self.clip is not None and factor != 1:
            self.scale /= factor


def same(a: float, b: float, tolerance: float = SAME) -> bool:
    """Whether two norms are equal but for rounding; two that are not finite are."""
    if not (math.isfinite(a) and math.isfinite(b)):
        return not math.isfinite(a) and not math.isfinite(b)
    return abs(a - b) <= tolerance * max(a, b)


def clip_norm(seen: Collection[Seen]) -> float:
    """What the last clipping left of the gradients that it was given; NaN without one."""
    clips = [s.clip for s in seen if s.clip is not None]
    return total(clips) if clips else math.nan


def note(seen: dict[int, Seen], stepped: dict[int, float]) -> str:
    """Why the optimiser did not step with what clipping (or else backward) left; '' where it did."""
    clipped = {key: s for key, s in seen.items() if s.clip is not None}
    if clipped:
        what, had = "clipping", clip_norm(clipped.values())
        got = total(stepped[key] for key in clipped)
    else:
        what, had, got = "backward", total(float(s.now) for s in seen.values()), total(stepped.values())
    if same(had, got):
        return ""
    why = _after_clipping(list(clipped.values()), had, got) if clipped else _after_backward(got)
    return f"{what} left {had:.3g}, the optimiser stepped with {got:.3g}: {why}"


def _after_clipping(clipped: list[Seen], had: float, got: float) -> str:
    if scales := {s.scale for s in clipped if s.scale != 1}:
        scale = max(scales)
        return (
            f"the gradients were clipped while they still had the loss scale, {scale:g}; call"
            " scaler.unscale_(optimizer) before the clipping"
        )
    if any(s.late for s in clipped):
        if not had:
            return "the clipping came before the backward and saw no gradient; clip between backward and step"
        if not any(float(s.carried) for s in clipped if s.late):
            return "the clipping came before the backward that made these gradients; clip after it"
        return "a backward came after the clipping and added to the gradients; clip after the last one"
    if not got:
        return "the gradients were zeroed after the clipping"
    return "the gradients were changed after the clipping, by nothing that is watched"


def _after_backward(got: float) -> str:
    if not got:
        return "the gradients were zeroed between backward and step"
    return "the gradients were changed between backward and step, by nothing that is watched"
