"""The gradient by lag of each recurrent part and direction, counted from its own end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .phrases import power
from .transport import padded, transported

Key = tuple[str, str, int | None]  # part, direction, layer


@dataclass(frozen=True)
class PartLags:
    """One recurrent part in one direction.

    name        of the module; direction: forward or reverse; layer: None where all layers are one state
    log_norm    (lags, R): natural log of the norm of the gradient at its joint state; lag 0 is its own last
                step that the loss depends on, which of a reverse direction lies first in time
    """

    name: str
    direction: str
    layer: int | None
    log_norm: np.ndarray

    @property
    def transport(self) -> np.ndarray:
        """(lags,): rms gradient over samples relative to that at its own end."""
        with np.errstate(invalid="ignore"):
            share: np.ndarray = np.exp(transported(self.log_norm)[0])
        return share

    def __str__(self) -> str:
        words = [self.name or "the module"]
        if self.layer is not None:
            words.append(f"layer {self.layer}")
        if self.direction == "reverse":
            words.append("backward (lags from its own end)")
        return f"{' '.join(words)}: {self._reach()}"

    def _reach(self) -> str:
        if not np.isfinite(self.log_norm).any():
            return "no gradient"
        logs = transported(self.log_norm)[0]
        known = np.flatnonzero(~np.isnan(logs))
        half, far = known[len(known) // 2], known[-1]
        shown = [k for k in dict.fromkeys((int(half), int(far))) if k]
        if not shown:
            return "one step"
        return "transport " + ", ".join(f"{power(float(logs[k]))} at lag {k}" for k in shown)


def of_all(batches: list[dict[Key, np.ndarray]]) -> tuple[PartLags, ...]:
    """All batches together."""
    found = []
    for key in dict.fromkeys(k for b in batches for k in b):
        arrays = [b[key] for b in batches if key in b]
        lags = max(len(a) for a in arrays)
        found.append(PartLags(*key, np.concatenate([padded(a, lags) for a in arrays], 1)))
    return tuple(found)
