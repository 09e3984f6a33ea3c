"""A probe for what no single input shows: a fit of inputs and their products, judged on unseen samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .answers import Answers
from .features import band_edges, band_sum, filled, standardised

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


def probe(answers: Answers, constant: Answers, inputs: np.ndarray, seed: int = 0) -> ProbeResult:
    """Fits on two thirds of the samples. constant: the constant answer; inputs (R, lags, I) of all rows."""
    order = np.random.default_rng(seed).permutation(answers.count)
    cut = 2 * len(order) // 3
    halves = Halves(answers.grouped(order[:cut]), answers.grouped(order[cut:]))
    columns, lags = _columns(inputs)
    if min(cut, len(order) - cut) < PER_COLUMN or not columns.shape[1]:
        return ProbeResult(0.0, 0.0, ((0, 0), (0, 0)), 0.0)
    recovered, best, z = _gain(answers, columns, halves)
    power, _, _ = _gain(constant, columns, halves)
    return ProbeResult(recovered, power, tuple(sorted((lags[best[0]], lags[best[1]]))), z)


@dataclass(frozen=True)
class Halves:
    """The samples of the fit, and those held out."""

    fit: np.ndarray
    held: np.ndarray


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


def _gain(answers: Answers, columns: np.ndarray, halves: Halves) -> tuple[float, tuple[int, int], float]:
    """Held-out loss recovered by the best of: inputs alone, products of two, both; and the best product.

    The product comes as its two columns, with its held-out z.
    """
    fit, held = answers.chosen(halves.fit), answers.chosen(halves.held)
    at_fit, at_held = (columns[answers.row_numbers(which)] for which in (halves.fit, halves.held))
    residual = fit.rows()
    top = max(len(halves.fit) // PER_COLUMN, 1)
    single = np.argsort(-_scores(at_fit, residual))[:top]
    pairs = _best_pairs(at_fit, residual, top)

    def features(c: np.ndarray) -> list[np.ndarray]:
        products = c[:, pairs[:, 0]] * c[:, pairs[:, 1]]
        half = max(top // 2, 1)
        return [c[:, single], products, np.concatenate([c[:, single][:, :half], products[:, :half]], 1)]

    left, right = features(at_fit), features(at_held)
    gain = max(_fitted_gain(fit, held, *both) for both in zip(left, right, strict=True))
    z = np.sqrt(_scores(right[1][:, :1], held.rows()))
    return gain, (int(pairs[0, 0]), int(pairs[0, 1])), float(z[0])


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


def _fitted_gain(fit: Answers, held: Answers, left: np.ndarray, right: np.ndarray) -> float:
    """Mean held-out loss recovered by adding a linear map of the columns to the outputs.

    left: the columns of the fit's rows; right: of those held out. The map is fitted by up to six Newton
    steps, and the best of them counts: later ones may overfit.
    """
    left, right = _white(left, left), _white(left, right)
    before = best = held.average()
    for _ in range(NEWTON):
        rows = fit.rows()
        basis, fisher, _ = fit.curvature(rows)
        step = (
            left.T @ (rows @ basis) / len(rows) @ np.linalg.pinv(fisher, rcond=1e-6, hermitian=True) @ basis.T
        )
        moved = _line_search(fit, left @ step)
        if moved == 0:
            break
        fit, held = fit.moved(moved * left @ step), held.moved(moved * right @ step)
        best = min(best, held.average())
    return before - best


def _white(fit: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Columns of `other`, centred and decorrelated by the statistics of `fit`."""
    mean, deviation = fit.mean(0), np.maximum(fit.std(0), 1e-12)
    _, values, turned = np.linalg.svd((fit - mean) / deviation, full_matrices=False)
    keep = values > 1e-3 * values[0]
    return (other - mean) / deviation @ (turned[keep].T / values[keep]) * np.sqrt(len(fit))


def _line_search(answers: Answers, change: np.ndarray) -> float:
    """The share of the step after which the loss is least; 0 where none lowers it."""
    lowest, best = answers.average(), 0.0
    for size in (1.0, 0.5, 0.25, 0.1):
        value = answers.moved(size * change).average()
        if value < lowest - 1e-9 * abs(lowest):
            lowest, best = value, size
    return best
