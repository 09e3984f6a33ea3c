"""A probe for what no single input shows: a fit of inputs and their products, judged on unseen samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .features import band_edges, band_sum, filled, standardised
from .loss import BatchLoss

COLUMNS = 600  # single inputs beyond this many are left to the bands
PER_COLUMN = 20  # samples that a fitted column needs
NEWTON = 6  # steps of a fit


@dataclass(frozen=True)
class ProbeResult:
    """Mean loss that the probe recovers on held-out samples.

    recovered   from the model's answers
    power       from a constant answer; where it is small, recovering nothing shows nothing
    pair        the lags of the product that scored highest while fitting; pair_z: its held-out score
    """

    recovered: float
    power: float
    pair: tuple[tuple[int, int], ...]
    pair_z: float


@dataclass(frozen=True)
class Sample:
    """The data of the fit: outputs and targets, and the inputs (R, lags, I) of rows (sample, position)."""

    loss: BatchLoss
    output: Tensor
    target: Tensor
    positions: list[int]
    inputs: np.ndarray

    def chosen(self, which: np.ndarray, output: Tensor) -> tuple[Tensor, Tensor]:
        return self.loss.chosen(output, self.target, torch.as_tensor(which, device=output.device))

    def rows(self, which: np.ndarray) -> np.ndarray:
        """Rows of the samples, all positions of one after the other."""
        count = len(self.positions)
        return (which[:, None] * count + np.arange(count)).ravel()


def probe(sample: Sample, constant: Tensor, seed: int = 0) -> ProbeResult:
    """Fits on two thirds of the samples. constant: the outputs of the constant answer."""
    count = sample.output.shape[sample.loss.output.samples]
    order = np.random.default_rng(seed).permutation(count)
    fit, held = order[: 2 * count // 3], order[2 * count // 3 :]
    columns, lags = _columns(sample.inputs)
    if min(len(fit), len(held)) < PER_COLUMN or not columns.shape[1]:
        return ProbeResult(0.0, 0.0, ((0, 0), (0, 0)), 0.0)
    recovered, best, z = _gain(sample, sample.output, columns, fit, held)
    power, _, _ = _gain(sample, constant, columns, fit, held)
    return ProbeResult(recovered, power, tuple(sorted((lags[best[0]], lags[best[1]]))), z)


def _columns(inputs: np.ndarray) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Standardised columns (R, d) and the lags of each: every input alone, and the features of each band."""
    _, steps, width = inputs.shape
    stride = -(-steps * width // COLUMNS)
    features = [(band, band_sum(inputs, band)) for band in band_edges(steps)]
    features += [((k, k), filled(inputs[:, k])) for k in range(0, steps, stride)]
    columns, lags = [], []
    for span, values in features:
        columns.append(standardised(values))
        lags += [span] * columns[-1].shape[1]
    return np.concatenate(columns, 1), lags


def _gain(
    sample: Sample, start: Tensor, columns: np.ndarray, fit: np.ndarray, held: np.ndarray
) -> tuple[float, tuple[int, int], float]:
    """Held-out loss recovered by the best of: inputs alone, products of two, both; and the best product.

    The product comes as its two columns, with its held-out z.
    """
    residual = _residual_rows(sample, start, fit)
    top = max(len(fit) // PER_COLUMN, 1)
    singles = columns[:, np.argsort(-_scores(columns[sample.rows(fit)], residual))[:top]]
    pairs = _best_pairs(columns[sample.rows(fit)], residual, top)
    products = columns[:, pairs[:, 0]] * columns[:, pairs[:, 1]]
    half = max(top // 2, 1)
    both = np.concatenate([singles[:, :half], products[:, :half]], 1)
    gain = max(_fitted_gain(sample, start, c, fit, held) for c in (singles, products, both))
    z = np.sqrt(_scores(products[sample.rows(held), :1], _residual_rows(sample, start, held)))
    return gain, (int(pairs[0, 0]), int(pairs[0, 1])), float(z[0])


def _residual_rows(sample: Sample, output: Tensor, which: np.ndarray) -> np.ndarray:
    return _rows(sample, *sample.chosen(which, output))


def _rows(sample: Sample, output: Tensor, target: Tensor) -> np.ndarray:
    """Residuals (R, K) at the sample's positions."""
    residuals = sample.loss.residuals(output, target)[:, sample.positions]
    return residuals.reshape(-1, residuals.shape[-1]).double().cpu().numpy()


def _scores(columns: np.ndarray, residual: np.ndarray) -> np.ndarray:
    """(d,): squared correlation with the residuals times the number of rows, summed over directions."""
    centred = columns - columns.mean(0)
    unit = centred / np.maximum(centred.std(0), 1e-12)  # keeps the columns that do not vary, as zeros
    return np.nan_to_num((unit.T @ _unit(residual)) ** 2 / len(columns)).sum(1)


def _unit(residual: np.ndarray) -> np.ndarray:
    """At most four directions of the residuals, each of deviation 1."""
    centred = residual - residual.mean(0)
    u, values, _ = np.linalg.svd(centred, full_matrices=False)
    return u[:, :4][:, values[:4] > 1e-9 * max(values[0], 1e-300)] * np.sqrt(len(residual))


def _best_pairs(columns: np.ndarray, residual: np.ndarray, top: int) -> np.ndarray:
    """(top, 2): the products of two columns with the largest scores; squares count as products."""
    count = len(columns)
    squares = columns**2
    spread = np.sqrt(np.maximum(squares.T @ squares / count - (columns.T @ columns / count) ** 2, 1e-12))
    score = np.zeros_like(spread)
    for r in _unit(residual).T:
        score += ((columns * r[:, None]).T @ columns / count / spread) ** 2
    rows, cols = np.triu_indices(columns.shape[1])
    best = np.argsort(-score[rows, cols])[:top]
    return np.stack([rows[best], cols[best]], 1)


def _fitted_gain(
    sample: Sample, start: Tensor, columns: np.ndarray, fit: np.ndarray, held: np.ndarray
) -> float:
    """Mean held-out loss recovered by adding a linear map of the columns to the outputs.

    The map is fitted by up to six Newton steps, and the best of them counts: later ones may overfit.
    """
    left, right = (_white(columns[sample.rows(fit)], columns[sample.rows(w)]) for w in (fit, held))
    (o_fit, y_fit), (o_held, y_held) = sample.chosen(fit, start), sample.chosen(held, start)
    before = best = sample.loss.average(o_held, y_held)
    for _ in range(NEWTON):
        rows = _rows(sample, o_fit, y_fit)
        basis, fisher = sample.loss.curvature(o_fit, y_fit, sample.positions, rows)
        step = (
            left.T @ (rows @ basis) / len(rows) @ np.linalg.pinv(fisher, rcond=1e-6, hermitian=True) @ basis.T
        )
        moved = _line_search(sample, o_fit, y_fit, left @ step)
        if moved == 0:
            break
        o_fit, o_held = (_added(sample, o, moved * c @ step) for o, c in ((o_fit, left), (o_held, right)))
        best = min(best, sample.loss.average(o_held, y_held))
    return before - best


def _white(fit: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Columns of `other`, centred and decorrelated by the statistics of `fit`."""
    mean, deviation = fit.mean(0), np.maximum(fit.std(0), 1e-12)
    _, values, turned = np.linalg.svd((fit - mean) / deviation, full_matrices=False)
    keep = values > 1e-3 * values[0]
    return (other - mean) / deviation @ (turned[keep].T / values[keep]) * np.sqrt(len(fit))


def _line_search(sample: Sample, output: Tensor, target: Tensor, change: np.ndarray) -> float:
    """The share of the step after which the loss is least; 0 where none lowers it."""
    lowest, best = sample.loss.average(output, target), 0.0
    for size in (1.0, 0.5, 0.25, 0.1):
        value = sample.loss.average(_added(sample, output, size * change), target)
        if value < lowest - 1e-9 * abs(lowest):
            lowest, best = value, size
    return best


def _added(sample: Sample, output: Tensor, change: np.ndarray) -> Tensor:
    rows = sample.loss.output.rows(output).clone()
    delta = torch.as_tensor(change, dtype=rows.dtype, device=rows.device)
    rows[:, sample.positions] += delta.reshape(len(rows), len(sample.positions), -1)
    return sample.loss.output.like(rows, output)
