"""The numbers of a diagnosis from the observations of all its batches."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .answers import Answers, Piece
from .by_part import PartLags, of_all
from .constant import trivial_loss
from .evidence import Band, Evidence
from .features import band_edges, band_sum, expanded
from .interactions import ProbeResult, probe
from .noise import Noise
from .observe import Observation
from .recoverable import Residuals
from .transport import padded, transported

LAGS = 256  # single lags that are scored, evenly spread where there are more


@dataclass(frozen=True)
class Examination:
    """Arrays by lag (lags, R); root: whether losses are squares of the caller's; the rest as in Evidence."""

    log_norm: np.ndarray
    log_reach: np.ndarray
    gradient_norm: float
    samples: int
    numbers: dict[str, Any]
    parts: tuple[PartLags, ...] = ()
    root: bool = False

    def evidence(self, floor: float | None, samples_seen: float | None) -> Evidence:
        """The same as a verdict takes it; floor: of the loss as the caller wrote it."""
        if self.root and floor is not None:
            floor = floor**2
        return Evidence(floor=floor, samples_seen=samples_seen, **self.numbers)

    @classmethod
    def without(cls, **words: Any) -> Examination:
        """The evidence where nothing was measured, for the reason in one of the evidence's words."""
        nan = float("nan")
        numbers: dict[str, Any] = dict.fromkeys(("loss", "trivial", "source", "saturation"), nan)
        numbers |= dict.fromkeys(("transport", "typical", "recoverable", "z", "swap"), np.empty(0))
        return cls(np.empty((0, 0)), np.empty((0, 0)), nan, 0, numbers | {"bands": ()} | words)


def combine(
    batches: list[Observation], noise: Noise, trivial: float | None, seed: int, notes: list[str]
) -> Examination:
    """All batches together; trivial: the loss of the best constant answer where the caller knows it."""
    groups = _alike(batches)
    batches = [b for group in groups for b in group]
    answers = Answers([_piece(group) for group in groups])
    lags = max(len(b.log_norm) for b in batches)
    log_norm = np.concatenate([padded(b.log_norm, lags) for b in batches], 1)
    log_reach = np.concatenate([padded(b.log_reach, lags) for b in batches], 1)
    inputs = np.concatenate([padded(b.inputs.swapaxes(0, 1), lags).swapaxes(0, 1) for b in batches])
    rows = np.concatenate([b.residual for b in batches])
    basis, fisher, how = answers.curvature(rows)
    residuals = Residuals(rows @ basis, fisher, len(rows) / answers.count)
    constant, answer = trivial_loss(answers) if trivial is None else (trivial, answers)
    result = probe(answers, answer, inputs, seed) if answers.divisible else None
    transport, typical = transported(log_norm)
    recoverable, z = _by_lag(residuals, inputs)
    numbers = {
        "loss": answers.average(),
        "trivial": constant,
        "transport": transport,
        "typical": typical,
        "source": _source(batches),
        "saturation": float(np.mean([b.saturation for b in batches])),
        "recoverable": recoverable,
        "z": z,
        "swap": _swap(batches, lags),
        "bands": _bands(residuals, inputs, batches, noise),
        "stationary": noise.stationary(),
        **_probe_numbers(result, trivial),
        "notes": (*notes, *_said(how, answers)),
    }
    parts = of_all([b.parts for b in batches])
    return Examination(log_norm, log_reach, noise.norm(), answers.count, numbers, parts)


def _alike(batches: list[Observation]) -> list[list[Observation]]:
    """Those whose outputs can stand in one tensor, in the order of the first of each."""
    groups: dict[Any, list[Observation]] = {}
    for k, b in enumerate(batches):
        alone = b.loss.output.apart or not b.loss.divisible
        shape = k if alone else tuple(b.loss.output.rows(b.output).shape[1:])
        groups.setdefault((shape, tuple(b.positions)), []).append(b)
    return list(groups.values())


def _piece(group: list[Observation]) -> Piece:
    first = group[0]
    if len(group) == 1:
        return Piece(first.loss, first.output, first.target, first.positions)
    output, target = first.loss.joined([(b.output, b.target) for b in group])
    parts = tuple(n for b in group for n in b.loss.parts)
    starts = tuple(n for b in group for n in b.loss.starts)
    return Piece(
        replace(first.loss.of(sum(parts)), parts=parts, starts=starts), output, target, first.positions
    )


def _said(how: str, answers: Answers) -> list[str]:
    """What could not be had from this loss, in words."""
    said = []
    if how == "differences":
        said.append(
            "torch has no second derivative of the loss; its curvature is from differences of its gradient"
        )
    if not answers.divisible:
        said.append(
            "the loss takes no part of a batch; it is taken for a mean over samples, and the probe of"
            " products is left out"
        )
    return said


def _source(batches: list[Observation]) -> float:
    """The median over rows; 1 where no row has a residual, for then no read-out can be called dead."""
    source = np.concatenate([b.source for b in batches])
    return float(np.nanmedian(source)) if np.isfinite(source).any() else 1.0


def _probe_numbers(result: ProbeResult | None, trivial: float | None) -> dict[str, Any]:
    """With a trivial loss given there is no constant answer to start from, and so no power."""
    if result is None or not np.isfinite(result.recovered):
        return {}
    return {
        "probe_recovered": result.recovered,
        "probe_power": result.power if trivial is None else float("nan"),
        "probe_pair": result.pair,
        "probe_pair_z": result.pair_z,
    }


def _by_lag(residuals: Residuals, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(recoverable loss, z) by lag; NaN where a lag was not scored."""
    lags = inputs.shape[1]
    scores = np.full((2, lags), np.nan)
    for k in range(0, lags, -(-lags // LAGS)):
        scores[:, k] = residuals.score(expanded(inputs[:, k]))
    return scores[0], scores[1]


def _bands(
    residuals: Residuals, inputs: np.ndarray, batches: list[Observation], noise: Noise
) -> tuple[Band, ...]:
    bands = []
    edges = band_edges(inputs.shape[1])
    needed = noise.needed() if noise.chunks else [float("nan")] * len(edges)
    for band, need in zip(edges, needed, strict=True):
        swaps = [b.band_swap.get(band, np.nan) for b in batches]
        recoverable, z = residuals.score(band_sum(inputs, band))
        bands.append(Band(*band, recoverable, z, _known_mean(swaps), need))
    return tuple(bands)


def _swap(batches: list[Observation], lags: int) -> np.ndarray:
    return np.array([_known_mean([b.swap[k] for b in batches if k in b.swap]) for k in range(lags)])


def _known_mean(values: list[float]) -> float:
    """Without NaN; NaN of none."""
    known = [v for v in values if not np.isnan(v)]
    return float(np.mean(known)) if known else float("nan")
