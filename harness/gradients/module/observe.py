"""What one batch shows: gradients by lag, the response to swapped inputs, and what is left to explain in
which row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .features import by_lag
from .layers import FLAT
from .loss import Outcome
from .noise import Noise
from .pullback import Pullback, parameter_gradient, pull
from .replay import Recording, Replay
from .swaps import Swaps

SWAPPED = 32  # single lags whose inputs are swapped, evenly spread where there are more


@dataclass(frozen=True)
class Seen:
    """Of one batch. Rows are (sample, position of the loss); arrays by lag are (lags, R).

    inputs (R, lags, I); residual (R, K); source (R,) as in Evidence; closed: the saturated share; broken: a
    gradient is NaN.
    """

    output: Tensor
    target: Tensor
    log_norm: np.ndarray
    log_reach: np.ndarray
    inputs: np.ndarray
    residual: np.ndarray
    source: np.ndarray
    closed: float
    broken: bool
    swap: dict[int, float]
    band_swap: dict[tuple[int, int], float]


def positions_of(outcome: Outcome, output: Tensor, target: Tensor, steps: int, most: int) -> list[int]:
    """Positions of the output whose loss is looked at: where the residuals vary most over samples, at most
    `most`, in order.
    """
    found = outcome.residuals(output, target)
    size = (found - found.mean(0)).square().sum((0, 2))
    return sorted(int(k) for k in torch.argsort(-size)[:most] if size[k] > 0) or [len(size) - 1]


def observe(
    replay: Replay,
    outcome: Outcome,
    recording: Recording,
    x: Tensor,
    target: Tensor,
    positions: list[int],
    bands: list[tuple[int, int]],
    noise: Noise,
    chunks: int,
    swapping: bool,
    rng: np.random.Generator,
) -> Seen:
    """Everything of one batch. bands: of lags, of which it may not have all; chunks: its parts for the
    gradient's noise.
    """
    output, steps = recording.output, len(recording.steps)
    timed = outcome.output.position is not None
    residual = outcome.residuals(output.detach(), target)
    ends = [p if timed else steps - 1 for p in positions]
    pulled = [pull(recording, _at(outcome, -residual, p, output)) for p in positions]
    _add_noise(noise, replay, recording, pulled, ends, bands, chunks)
    inputs = torch.stack([_numbers(s.input) for s in recording.steps], 1).cpu().numpy()
    count, per = len(inputs), len(positions)
    reference = np.tile(ends, count)
    rows = [residual[:, p].double().cpu().numpy() for p in positions]
    log_norm, log_reach = (
        _interleaved([_lagged(getattr(p, name), end, steps) for p, end in zip(pulled, ends, strict=True)])
        for name in ("log_norm", "log_reach")
    )
    stacked = np.stack(rows, 1).reshape(count * per, -1)
    swaps = Swaps(replay, outcome, x, target, positions, ends, count, rng) if swapping and count > 1 else None
    single = np.unique(np.linspace(0, steps - 1, min(steps, SWAPPED)).round().astype(int)).tolist()
    return Seen(
        output.detach(),
        target,
        log_norm,
        log_reach,
        by_lag(np.repeat(inputs, per, axis=0), reference, steps),
        stacked,
        _source(log_norm, stacked, read_out_norm(replay, recording)),
        closed(replay, recording),
        any(np.isnan(p.log_norm).any() for p in pulled),
        {k: swaps.rise((k, k)) for k in single} if swaps else {},
        {b: swaps.rise(b) for b in bands} if swaps else {},
    )


def _at(outcome: Outcome, rows: Tensor, position: int, output: Tensor) -> Tensor:
    """A cotangent of the output that is rows (B, P, K) at one position and zero elsewhere."""
    alone = torch.zeros_like(rows)
    alone[:, position] = rows[:, position]
    return outcome.output.like(alone, output)


def _add_noise(
    noise: Noise,
    replay: Replay,
    recording: Recording,
    pulled: list[Pullback],
    ends: list[int],
    bands: list[tuple[int, int]],
    chunks: int,
) -> None:
    params: list[Tensor] = [p for p in replay.part.parameters() if p.requires_grad]
    if not params:
        return
    for rows in torch.arange(recording.batch).chunk(chunks):
        chosen = torch.zeros(recording.batch, dtype=recording.output.dtype, device=recording.output.device)
        chosen[rows] = 1
        parts = []
        for low, high in bands:
            times = [
                (p, [t for t in range(end - high, end - low + 1) if t >= 0])
                for p, end in zip(pulled, ends, strict=True)
            ]
            parts.append(
                torch.stack(
                    [parameter_gradient(recording, p.cotangents, at, chosen, params) for p, at in times]
                ).sum(0)
            )
        noise.add(parts, len(rows))


def _lagged(by_time: np.ndarray, end: int, steps: int) -> np.ndarray:
    """(lags, B) from (steps, B): lag k is `end` - k; NaN before the start."""
    found = np.full_like(by_time, np.nan)
    found[: end + 1] = by_time[end::-1]
    return found


def _interleaved(parts: list[np.ndarray]) -> np.ndarray:
    """(lags, R), a sample's positions one after the other, from one (lags, B) a position."""
    return np.stack(parts, -1).reshape(len(parts[0]), -1)


def _numbers(u: Tensor) -> Tensor:
    """(B, I) in float64."""
    return u.reshape(len(u), -1).double()


def start(log_norm: np.ndarray) -> int:
    """The first lag at which the joint state has a gradient: 0, or 1 where the output is not computed from
    the new state.
    """
    alive = np.isfinite(log_norm).any(1)
    return int(np.argmax(alive)) if alive.any() else 0


def _source(log_norm: np.ndarray, residual: np.ndarray, norm: float) -> np.ndarray:
    size = np.linalg.norm(residual, axis=1) * norm
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(size > 0, np.exp(log_norm[start(log_norm)]) / size, np.nan)


def read_out_norm(replay: Replay, recording: Recording) -> float:
    """Product of the spectral norms of the matrices that only the output depends on; 1 where there is none."""
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
    ends = [e for e in ends if e.requires_grad]
    if not ends or not params:
        return set()
    found = torch.autograd.grad([e.sum() for e in ends], params, retain_graph=True, allow_unused=True)
    return {k for k, g in enumerate(found) if g is not None}


def closed(replay: Replay, recording: Recording) -> float:
    """Saturated share of (unit, step, sample): by the layers' own slopes, else by small random changes of a
    step's arguments.
    """
    if recording.closed:
        return float(np.mean(recording.closed))
    seed = torch.Generator().manual_seed(0)
    chosen = recording.steps[1 :: max(len(recording.steps) // 8, 1)] or recording.steps
    return float(np.mean([float((replay.slopes(step, seed) < FLAT).double().mean()) for step in chosen]))
