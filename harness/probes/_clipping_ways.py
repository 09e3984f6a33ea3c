"""Ways to clip: the norm of the gradient, each of its entries, or the state's gradient at every step."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..gradients import clip_by_value, total_norm
from ..gradients.cell.linear import joint
from ..gradients.cell.path import norms
from ..gradients.training.norm import cosine, scaled

if TYPE_CHECKING:
    from ..learn.model import Batch, Model

KINDS = ("max_norm", "max_value", "max_state")


@dataclass(frozen=True)
class Way:
    """kind max_norm, max_value or max_state, and the limit; no clipping is max_norm=none, a limit of inf.

    max_state is the largest norm of dL_i/d(joint state) of any sample i and step, L_i the sample's own loss.
    """

    kind: str
    limit: float

    @classmethod
    def of(cls, variant: str) -> Way:
        kind, _, limit = variant.partition("=")
        return cls(kind, math.inf if limit == "none" else float(limit))


@dataclass(frozen=True)
class Pulled:
    """Gradients of one minibatch before and after clipping, {name: tensor}; clipped: was anything changed?"""

    loss: float
    raw: dict[str, Any]
    kept: dict[str, Any]
    norm: float
    kept_norm: float
    angle: float
    clipped: bool

    @property
    def finite(self) -> bool:
        return math.isfinite(self.norm) and math.isfinite(self.loss)


class Puller:
    """Takes gradients of a model, and clips them."""

    def __init__(self, model: Model, way: Way) -> None:
        self.model, self.way = model, way

    def pull(self, data: Any, batch: Batch) -> Pulled:
        """Leaves the model's own gradients as they are; an update takes `kept`."""
        loss, raw = self._backward(data, batch)
        norm = total_norm(raw)
        if not math.isfinite(norm):
            return Pulled(loss, raw, raw, norm, norm, math.nan, False)
        kept = self._kept(data, batch, raw, norm)
        kept_norm = norm if kept is raw else total_norm(kept)
        turned = self.way.kind != "max_norm" and kept_norm != norm
        angle = (
            math.acos(min(max(cosine(flat(raw), flat(kept)), -1.0), 1.0))
            if turned and norm * kept_norm
            else 0.0
        )
        return Pulled(loss, raw, kept, norm, kept_norm, angle, kept_norm != norm)

    def _kept(self, data: Any, batch: Batch, raw: dict[str, Any], norm: float) -> dict[str, Any]:
        if math.isinf(self.way.limit):
            return raw
        if self.way.kind == "max_state":
            program = self.model.program(batch.x.shape[0], batch.x.shape[1])  # the one of this batch
            with _limited(program, self.way.limit):
                return self._backward(data, batch)[1]
        if self.way.kind == "max_norm":
            return scaled(raw, norm, self.way.limit)
        return clip_by_value(raw, self.way.limit).arrays

    def _backward(self, data: Any, batch: Batch) -> tuple[float, dict[str, Any]]:
        from ..learn.model import loss_of

        self.model.zero_grad(set_to_none=True)
        loss = loss_of(data, self.model(batch.x, batch.last), batch)
        loss.backward()
        return float(loss.detach()), {
            name: p.grad for name, p in self.model.named_parameters() if p.grad is not None
        }


@contextmanager
def _limited(program: Any, limit: float) -> Iterator[None]:
    """The backward of a reference program with a limit on each sample's gradient of the joint state."""
    unlimited = program.with_outputs

    def with_outputs(t: int, d_outputs: Any, d_state: Any) -> Any:
        d_state = unlimited(t, d_outputs, d_state)
        # of each sample's own loss: the model's loss is the mean over the batch
        norm = norms(joint(d_state)) * program.batch
        with np.errstate(divide="ignore"):  # a gradient of 0 has the scale 1
            scale = np.minimum(1, limit / norm).astype(program.dtype)
        return tuple(d * scale.reshape(-1, *[1] * (d.ndim - 1)) for d in d_state)

    # A reference program's backward is a loop over this method, and its class depends on the cell. To replace
    # the method for one backward needs neither a subclass of each class nor the loop once more.
    program.with_outputs = with_outputs
    try:
        yield
    finally:
        del program.with_outputs  # the class's own again


def flat(gradients: dict[str, Any]) -> np.ndarray:
    """All entries side by side, float64."""
    return np.concatenate([g.detach().double().cpu().numpy().ravel() for g in gradients.values()])
