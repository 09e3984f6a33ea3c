"""Other detectors of change points, on the same terms as ours.

Each gives the points at which levels change, where two in a row lie beyond the midpoint of the levels.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..regress.history.change import RATE, Draw, change_points, looks, penalty, unchanged

Detector = Callable[[np.ndarray, np.random.Generator], list[int]]
BLOCK = 8  # points that stay together
DRAWN = 999  # permuted series for a penalty of ruptures


def ours(values: np.ndarray, rng: np.random.Generator) -> list[int]:
    """The project's own."""
    return change_points(values, rng)


def ours_permuted(values: np.ndarray, rng: np.random.Generator) -> list[int]:
    """Our statistic, the values permuted as they are."""
    return _calibrated(
        values, lambda size: rng.permuted(np.broadcast_to(values, (size, len(values))), axis=1)
    )


def ours_in_blocks(values: np.ndarray, rng: np.random.Generator) -> list[int]:
    """Our statistic, blocks of values permuted.

    They begin at a random point of the series closed to a ring, for its length may be no multiple of a block.
    """
    length = len(values) // BLOCK * BLOCK

    def draw(size: int) -> np.ndarray:
        starts = rng.integers(0, len(values), size)
        ring = values[(starts[:, None] + np.arange(length)) % len(values)].reshape(size, -1, BLOCK)
        order = np.argsort(rng.random(ring.shape[:2]), axis=1)
        return np.take_along_axis(ring, order[..., None], axis=1).reshape(size, length)

    return _calibrated(values, draw)


def _calibrated(values: np.ndarray, draw: Draw) -> list[int]:
    """The first change, its penalty the quantile of drawn series."""
    f, starts = looks(values - np.median(values))
    limit = penalty(float(f.max()), lambda size: draw(size) - np.median(values))
    return [] if limit is None else [int(starts[np.flatnonzero(f > limit)[0]])]


def pelt(values: np.ndarray, rng: np.random.Generator) -> list[int]:
    """ruptures' PELT with cost l2 and the penalty of the BIC, 2 spread^2 log n."""
    spread = 1.4826 * np.median(np.abs(np.diff(values))) / np.sqrt(2)
    return _pelt(values, 2 * spread**2 * np.log(len(values)))


def pelt_permuted(values: np.ndarray, rng: np.random.Generator) -> list[int]:
    """ruptures' PELT with cost l2; the penalty is a quantile of one change's gain in permuted values."""
    return _pelt(values, _quantile(_permuted(values, rng)))


def pelt_whitened(values: np.ndarray, rng: np.random.Generator) -> list[int]:
    """The same with our whitening and clipping around the permutation."""
    return _pelt(values, _quantile(unchanged(values - np.median(values), rng)(DRAWN)))


def pelt_ranks(values: np.ndarray, rng: np.random.Generator) -> list[int]:
    """PELT on ranks with permuted penalty, which is ruptures' cost `rank` for one dimension."""
    ranks = np.argsort(np.argsort(values)).astype(float)
    return [at for at in _pelt(ranks, _quantile(_permuted(ranks, rng))) if two_beyond(values, at)]


def _permuted(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rng.permuted(np.broadcast_to(values, (DRAWN, len(values))), axis=1)


def _quantile(drawn: np.ndarray) -> float:
    """Of the gain of the best single change of level, over drawn series."""
    n, k = drawn.shape[1], np.arange(2, drawn.shape[1] - 1)
    sums = np.cumsum(drawn - drawn.mean(axis=1, keepdims=True), axis=1)
    return float(np.quantile((sums[:, k - 1] ** 2 * (n / (k * (n - k)))).max(axis=1), 1 - RATE))


def _pelt(values: np.ndarray, penalty: float) -> list[int]:
    from ruptures import KernelCPD

    ends = KernelCPD(kernel="linear", min_size=2, jump=1).fit(values).predict(pen=penalty)
    return [int(at) for at in ends[:-1] if two_beyond(values, int(at))]  # the last is the series' end


def asv(values: np.ndarray, rng: np.random.Generator) -> list[int]:
    """asv's step detection as it is: l1 cost, its own penalty."""
    from asv.step_detect import detect_steps

    return [int(left) for left, *_ in detect_steps(list(values))[1:] if two_beyond(values, int(left))]


def two_beyond(values: np.ndarray, at: int) -> bool:
    """Whether the point `at` and the next lie beyond the midpoint of the levels before and after."""
    before, after = np.median(values[:at]), np.median(values[at:])
    return len(values) > at + 1 and bool(
        ((values[at : at + 2] > (before + after) / 2) == (after > before)).all()
    )


DETECTORS: dict[str, Detector] = {
    "cellbench": ours,
    "its statistic, values permuted": ours_permuted,
    f"its statistic, blocks of {BLOCK} permuted": ours_in_blocks,
    "ruptures PELT l2, BIC": pelt,
    "ruptures PELT l2, permuted penalty": pelt_permuted,
    "ruptures PELT rank, permuted penalty": pelt_ranks,
    "ruptures PELT l2, whitened penalty": pelt_whitened,
    "asv step_detect": asv,
}
