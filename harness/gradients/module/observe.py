"""One batch of a diagnosis: gradients by lag, the response to swapped inputs, and residuals to explain."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .by_part import Key
from .chains import of_batch
from .features import by_lag
from .inputs import Inputs
from .layers import FLAT
from .loss import BatchLoss
from .noise import Noise
from .pullback import Pullback, lagged, pull
from .recording import Recording
from .replay import Replay
from .signs import SignOfLife
from .swaps import Swaps
from .transport import first_lag

SWAPPED = 32  # single lags whose inputs are swapped, evenly spread where there are more
SWAPPING = 256  # samples on which inputs are swapped
ALIKE = 0.5  # share of the largest variance of residuals, from which positions are alike
SLOPED = 8  # steps at which a module of unknown form is tried for saturation


@dataclass(frozen=True)
class Observation:
    """What one batch showed. Rows are (sample, position of the loss); arrays by lag are (lags, R).

    inputs       (R, lags, I)
    residual     (R, K)
    source       (R,), as in Evidence
    saturation   share of (unit, step, sample)
    broken       whether a gradient is NaN
    swap         rise of the loss by single lag; band_swap by band
    parts        (lags, R) by recurrent part and direction, where there are several
    """

    loss: BatchLoss
    positions: list[int]
    output: Tensor
    target: Any
    log_norm: np.ndarray
    log_reach: np.ndarray
    inputs: np.ndarray
    residual: np.ndarray
    source: np.ndarray
    saturation: float
    broken: bool
    swap: dict[int, float]
    band_swap: dict[tuple[int, int], float]
    parts: dict[Key, np.ndarray]


def positions_of(residual: Tensor, most: int, first: int) -> list[int]:
    """At most `most` positions of the output from `first` on, in order, from residuals (B, P, K).

    Of those whose residuals vary at least half as much as the most variable one's, evenly spread and the last
    among them: what is asked of late positions may lie far back.
    """
    size = (residual - residual.mean(0) if len(residual) > 1 else residual).square().sum((0, 2))
    size[:first] = 0
    alike = torch.nonzero((size > 0) & (size >= ALIKE * size.max()))[:, 0]
    if not len(alike):
        return [len(size) - 1]
    if len(alike) < min(most, int((size > 0).sum())):  # a few stand out: the next largest come with them
        alike = torch.argsort(-size)[:most].sort().values
        alike = alike[size[alike] > 0]
    chosen = torch.linspace(0, len(alike) - 1, min(most, len(alike)), dtype=torch.float64).round().long()
    if len(chosen) == 1:
        return [int(alike[-1])]
    return [int(alike[k]) for k in chosen]


@dataclass
class Observer:
    """Observes batch after batch with the same model.

    most        positions of the output whose loss is looked at
    bands       of lags; a batch may be too short for some
    noise       gathers the gradients of all batches, each cut into `chunks` parts
    swapped     rows whose inputs were swapped so far
    positions   by how many the output has: batches with as many are looked at in the same of them
    """

    replay: Replay
    most: int
    bands: list[tuple[int, int]]
    noise: Noise
    chunks: int
    rng: np.random.Generator
    sign: SignOfLife
    swapped: int = 0
    positions: dict[int, list[int]] = field(default_factory=dict)

    def observe(self, loss: BatchLoss, recording: Recording, x: Inputs, target: Any) -> Observation:
        """Everything of one batch."""
        output, count = recording.output, recording.batch
        residual = loss.residuals(output.detach(), target)
        positions = self.positions.setdefault(
            residual.shape[1], positions_of(residual, self.most, max(loss.starts, default=0))
        )
        timed = loss.output.position is not None
        pullbacks = [pull(recording, _cotangent(loss, -residual, p, output)) for p in positions]
        ends = [
            recording.ends(p) if timed else own_ends(recording, pullback)
            for p, pullback in zip(positions, pullbacks, strict=True)
        ]
        self.sign.show()
        params: list[Tensor] = [p for p in self.replay.recurrent.parameters() if p.requires_grad]
        params = params if recording.main[0].nodes else []  # where no step is seen, no step's share is known
        self.noise.add_batch(recording, params, pullbacks, ends, self.bands, self.chunks)
        self.sign.show()
        log_norm, log_reach = (
            _rows([lagged(by_time, end) for by_time, end in zip(arrays, ends, strict=True)])
            for arrays in ([p.log_norm for p in pullbacks], [p.log_reach for p in pullbacks])
        )
        by_position = [residual[:, p].double().cpu().numpy() for p in positions]
        rows = np.stack(by_position, 1).reshape(count * len(positions), -1)
        swap, band_swap = self._rises(loss, recording, x, target, ends, positions)
        return Observation(
            loss,
            positions,
            output.detach(),
            target,
            log_norm,
            log_reach,
            self._inputs(recording, ends),
            rows,
            self._source(recording, log_norm, rows),
            saturation(self.replay, recording),
            any(p.broken for p in pullbacks),
            swap,
            band_swap,
            of_batch(recording, pullbacks),
        )

    def _source(self, recording: Recording, log_norm: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """NaN where no state is to be seen."""
        if not recording.main[0].nodes:
            return np.full(len(rows), np.nan)
        return _source(log_norm, rows, read_out_norm(self.replay, recording))

    def _inputs(self, recording: Recording, ends: list[np.ndarray]) -> np.ndarray:
        """(R, lags, I): the recurrence's inputs before each row's end."""
        by_time = [step.input.reshape(len(step.input), -1).double() for step in recording.steps]
        inputs = torch.stack(by_time, 1).cpu().numpy()
        if recording.starts is not None:
            inputs[np.arange(inputs.shape[1]) < recording.starts[:, None]] = np.nan
        repeated = np.repeat(inputs, len(ends), axis=0)
        return by_lag(repeated, np.stack(ends, 1).ravel(), len(recording.steps))

    def _rises(
        self,
        loss: BatchLoss,
        recording: Recording,
        x: Inputs,
        target: Any,
        ends: list[np.ndarray],
        positions: list[int],
    ) -> tuple[dict[int, float], dict[tuple[int, int], float]]:
        """By single lag and by band; none once enough samples were swapped, or from a batch of one."""
        count, steps = recording.batch, len(recording.steps)
        swapping = self.swapped < SWAPPING * len(positions)
        self.swapped += count * len(positions)
        if not swapping or count < 2:
            return {}, {}
        swaps = Swaps(self.replay, loss, x, target, positions, ends, count, self.rng)
        single = np.unique(np.linspace(0, steps - 1, min(steps, SWAPPED)).round().astype(int)).tolist()
        return {k: self._rise(swaps, (k, k)) for k in single}, {b: self._rise(swaps, b) for b in self.bands}

    def _rise(self, swaps: Swaps, lags: tuple[int, int]) -> float:
        self.sign.show()
        return swaps.rise(lags)


def _cotangent(loss: BatchLoss, rows: Tensor, position: int, output: Tensor) -> Tensor:
    """A cotangent of the output that is rows (B, P, K) at one position and zero elsewhere."""
    alone = torch.zeros_like(rows)
    alone[:, position] = rows[:, position]
    return loss.output.like(alone, output)


def _rows(by_position: list[np.ndarray]) -> np.ndarray:
    """(lags, R), a sample's positions one after the other, from one (lags, B) a position."""
    return np.stack(by_position, -1).reshape(len(by_position[0]), -1)


def own_ends(recording: Recording, pullback: Pullback) -> np.ndarray:
    """(B,): the last step of each sequence that the loss depends on, where padding is not packed away.

    Where the longest of them ends before the last step, no answer comes from a new state.
    """
    ends = recording.ends(None)
    alive = np.isfinite(pullback.log_norm)
    if ends.min() < ends.max() or not alive.any(0).all():
        return ends
    last = len(alive) - 1 - alive[::-1].argmax(0)
    own: np.ndarray = ends - (last.max() - last)
    return own


def _source(log_norm: np.ndarray, residual: np.ndarray, norm: float) -> np.ndarray:
    size = np.linalg.norm(residual, axis=1) * norm
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(size > 0, np.exp(log_norm[first_lag(log_norm)]) / size, np.nan)


def read_out_norm(replay: Replay, recording: Recording) -> float:
    """Product of the spectral norms of the matrices that only the output depends on; 1 of none."""
    params: list[Tensor] = [p for p in replay.model.parameters() if p.requires_grad and p.ndim > 1]
    last = recording.steps[-1]
    outputs = [m for k, m in enumerate(last.made) if k not in last.states and m.requires_grad]
    states = [last.made[k] for k in last.states if last.made[k].requires_grad]
    shared = _reached(states, params)
    norm = 1.0
    for k in sorted(_reached([recording.output, *outputs], params) - shared):
        matrix = params[k].detach().flatten(1).double()
        norm *= float(torch.linalg.matrix_norm(matrix, 2))
    return norm if norm > 0 else 1.0


def _reached(ends: list[Tensor], params: list[Tensor]) -> set[int]:
    """Places of the parameters that the ends depend on."""
    ends = [e for e in ends if e.requires_grad]
    if not ends or not params:
        return set()
    gradients = torch.autograd.grad([e.sum() for e in ends], params, retain_graph=True, allow_unused=True)
    return {k for k, g in enumerate(gradients) if g is not None}


def saturation(replay: Replay, recording: Recording) -> float:
    """Saturated share of (unit, step, sample).

    By the layers' own slopes where they are known, else by small random changes of a step's arguments.
    """
    if not recording.main[0].nodes:
        return float("nan")
    if recording.saturated:
        return float(np.mean(recording.saturated))
    generator = torch.Generator().manual_seed(0)
    chosen = recording.steps[1 :: max(len(recording.steps) // SLOPED, 1)] or recording.steps
    shares = [float((replay.slopes(step, generator) < FLAT).double().mean()) for step in chosen]
    return float(np.mean(shares))
