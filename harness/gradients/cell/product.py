"""The product of Jacobians from a lag to the end, M_k = ds_T/ds_{T-k}: its norms and its stable rank."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from cellbench.cells import GatedCell
from cellbench.cells.contract import whole
from cellbench.cells.display import Displayed

from .given import of_joint_state
from .linear import Jacobians
from .linearise import linearise
from .path import check, finite, states_of

Arrays = dict[str, Any]
EXACT = 256  # numbers in the joint state up to which the product itself is formed
PROBES = 64  # random vectors of the estimate of the Frobenius norm above it
ROUNDS = 12  # of the block Lanczos iteration for the spectral norm above it
MATRICES = 2**32  # bytes of whole Jacobians, which a step that is written out has, at most
WIDTH = 4  # vectors in its block
BLOCK = 32  # steps whose Jacobians are kept at once where the product is formed


@dataclass(frozen=True, repr=False)
class Products(Displayed):
    """Norms of M_k by lag and sample, all (lags, B); logs are natural.

    stable_rank       squared ratio of Frobenius and spectral norm: how many directions of error survive
    method            exact, or 'Lanczos and Hutchinson'
    spectral_error    relative: the last change of the iteration, which approaches from below
    frobenius_error   relative: one standard error
    """

    axes = {"lag": ("log_spectral", "log_frobenius", "stable_rank", "spectral_error", "frobenius_error")}
    drawn = ("log_spectral", "log_frobenius")

    lag: np.ndarray
    log_spectral: np.ndarray
    log_frobenius: np.ndarray
    method: str
    spectral_error: np.ndarray
    frobenius_error: np.ndarray

    @property
    def stable_rank(self) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return np.exp(2 * (self.log_frobenius - self.log_spectral))


@of_joint_state
def jacobian_product(
    cell: GatedCell, params: Arrays, x: Any, lags: Iterable[int], *, state: Arrays | None = None
) -> Products:
    """Norms of ds_T/ds_{T-k} of the joint state at these lags. x (T, B, I).

    NaN for samples whose forward overflows. Raises ValueError for a lag that is no whole number from 0 to T.
    """
    check(cell, params, x)
    x = np.asarray(x)
    wanted = sorted(set(lags))
    if not wanted:
        raise ValueError(f"lags is empty; it must hold whole numbers from 0 to the {len(x)} steps of x")
    for lag in wanted:
        if not whole(lag) or not 0 <= lag <= len(x):
            raise ValueError(
                f"lags has {lag!r}; each must be a whole number from 0 to the {len(x)} steps of x"
            )
    used, path = len(x) - max(wanted), states_of(cell, params, x, state)
    held, path = finite(path), [s[used:] for s in path]
    size = sum(s[0, 0].size for s in path)
    method = _exact if size <= EXACT else _estimated
    products = method(cell, params, x[used:], path, [int(k) for k in wanted])
    products.log_spectral[:, ~held] = products.log_frobenius[:, ~held] = np.nan
    return products


def _exact(
    cell: GatedCell, params: Arrays, x: np.ndarray, path: list[np.ndarray], lags: list[int]
) -> Products:
    """The product is formed row by row, scaled to norm 1 at every step."""
    batch, size = x.shape[1], sum(s[0, 0].size for s in path)
    rows, scale = np.tile(np.eye(size), (batch, 1, 1)), np.zeros(batch)
    norms = {0: _log_norms(rows, scale)}
    for lag, (jacobians, t) in enumerate(_backwards(cell, params, x, path), 1):
        rows, scale = _scaled(jacobians.pull(t, rows), scale)
        if lag in lags:
            norms[lag] = _log_norms(rows, scale)
    spectral, frobenius = (np.stack([norms[k][which] for k in lags]) for which in (0, 1))
    zero = np.zeros_like(spectral)
    return Products(np.array(lags), spectral, frobenius, "exact", zero, zero)


def _backwards(
    cell: GatedCell, params: Arrays, x: np.ndarray, path: list[np.ndarray]
) -> Iterator[tuple[Jacobians, int]]:
    """The Jacobians of all steps, last first: some that are computed together, and a place among them."""
    for start in reversed(range(0, len(x), BLOCK)):
        jacobians = linearise(
            cell, params, x[start : start + BLOCK], [s[start : start + BLOCK + 1] for s in path]
        )
        yield from ((jacobians, t) for t in reversed(range(jacobians.steps)))


def _log_norms(rows: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(log spectral, log Frobenius norm) of each sample's matrix; NaN where it is not finite."""
    finite = np.isfinite(rows).all((1, 2))
    values = np.linalg.svd(np.where(finite[:, None, None], rows, 0).astype(np.float64), compute_uv=False)
    values[~finite] = np.nan
    with np.errstate(divide="ignore"):
        return scale + np.log(values[:, 0]), scale + 0.5 * np.log((values**2).sum(1))


def _estimated(
    cell: GatedCell, params: Arrays, x: np.ndarray, path: list[np.ndarray], lags: list[int]
) -> Products:
    """Frobenius norms of all lags from the same vectors (Hutchinson), spectral norms by block Lanczos."""
    size = sum(s[0, 0].size for s in path)
    if cell.written_out and (needed := 8 * len(x) * x.shape[1] * size**2) > MATRICES:
        raise ValueError(
            f"the Jacobians of {len(x)} steps of {x.shape[1]} sequences, {size} x {size} numbers each, take"
            f" {needed / 1e9:.1f} GB; give fewer sequences or smaller lags, for {MATRICES / 1e9:.1f} GB"
        )
    rng, batch, jacobians = np.random.default_rng(0), x.shape[1], linearise(cell, params, x, path)
    probes = rng.choice([-1.0, 1.0], (batch, PROBES, jacobians.size))
    scale, frobenius, errors = np.zeros(batch), {}, {}
    for lag in range(max(lags) + 1):
        if lag:
            probes = jacobians.pull(jacobians.steps - lag, probes)
            probes, scale = _scaled(probes, scale)
        if lag in lags:
            squares = (probes**2).sum(-1)
            with np.errstate(divide="ignore", invalid="ignore"):
                frobenius[lag] = scale + 0.5 * np.log(squares.mean(1))
                errors[lag] = np.nan_to_num(0.5 * squares.std(1, ddof=1) / squares.mean(1) / np.sqrt(PROBES))
    spectral = [_lanczos(jacobians, k, batch, rng) for k in lags]
    return Products(
        np.array(lags),
        np.stack([s for s, _ in spectral]),
        np.stack([frobenius[k] for k in lags]),
        "Lanczos and Hutchinson",
        np.stack([e for _, e in spectral]),
        np.stack([errors[k] for k in lags]),
    )


def _lanczos(
    jacobians: Jacobians, lag: int, batch: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """(log of the largest singular value of M_lag, its last relative change).

    By Rayleigh-Ritz in the Krylov space of M M'.
    """
    block = np.linalg.qr(rng.standard_normal((batch, jacobians.size, WIDTH)))[0].swapaxes(1, 2)
    basis = block
    before = largest = np.full(batch, -np.inf)
    for _ in range(ROUNDS):
        down, scale = _through(
            jacobians.pull, range(jacobians.steps - 1, jacobians.steps - 1 - lag, -1), basis
        )
        before, largest = largest, _log_norms(down, scale)[0]
        if not np.isfinite(largest).any():  # every product is 0, or no longer finite
            break
        newest, _ = _through(jacobians.push, range(jacobians.steps - lag, jacobians.steps), down[:, -WIDTH:])
        basis = np.linalg.qr(np.concatenate([basis, newest], 1).swapaxes(1, 2))[0].swapaxes(1, 2)
    with np.errstate(invalid="ignore"):
        return largest, np.nan_to_num(-np.expm1(before - largest))


def _through(move: Any, steps: Iterable[int], vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vectors after several steps in float64, scaled together to norm 1, and the log of the scale."""
    scale = np.zeros(len(vectors))
    for t in steps:
        vectors, scale = _scaled(move(t, vectors), scale)
    return vectors.astype(np.float64), scale


def _scaled(vectors: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Divided by each sample's largest entry, whose log is added to the scale."""
    largest = np.abs(vectors).max((1, 2))
    by = np.where((largest > 0) & np.isfinite(largest), largest, 1.0)
    return vectors / by[:, None, None], (scale + np.log(by)).astype(np.float64)
