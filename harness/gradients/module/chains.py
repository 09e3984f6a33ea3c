"""The gradient by lag of every chain of a recorded pass."""

from __future__ import annotations

import numpy as np

from .by_part import Key
from .pullback import Pullback, lagged
from .recording import Chain, Recording


def of_batch(recording: Recording, pullbacks: list[Pullback]) -> dict[Key, np.ndarray]:
    """(lags, R) of each chain of a batch; empty where there is one alone."""
    chains = [c for c in recording.chains if c.call == 1 and c.nodes]
    if len(chains) < 2:
        return {}
    return {
        (c.part, c.direction, c.layer): np.concatenate([_own(p, c) for p in pullbacks], 1) for c in chains
    }


def _own(pullback: Pullback, chain: Chain) -> np.ndarray:
    """(lags, B) from the last own step with a gradient."""
    by_step, _ = pullback.by_step(chain)
    alive = np.isfinite(by_step)
    last = len(alive) - 1 - alive[::-1].argmax(0)
    return lagged(by_step, np.where(alive.any(0), last, chain.sizes() - 1))
