"""Functions of whole arrays that cells may use: on NumPy arrays, torch tensors and recorded Values."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np

from .jaxed import of_jax
from .tape import Value, array_of


def constant(array: Any, like: Any) -> Any:
    """A fixed NumPy array as whatever `like` is, in its dtype."""
    torch = _torch(like)
    if torch is not None:
        return torch.as_tensor(array, dtype=like.dtype, device=like.device)
    # NumPy's own is a constant to JAX too
    return np.asarray(array, like.dtype)


def concatenate(arrays: Sequence[Any], axis: int = -1) -> Any:
    """The arrays joined along an axis."""
    torch = _torch(*arrays)
    if torch is not None:
        return torch.cat(list(arrays), axis)
    if of_jax(*arrays):
        return sys.modules["jax"].numpy.concatenate(list(arrays), axis)
    joined = np.concatenate([array_of(a) for a in arrays], axis)
    if not any(isinstance(a, Value) for a in arrays):
        return joined
    edges = np.cumsum([0, *(a.shape[axis] for a in arrays)])

    def pull(g: Any, y: Any, *args: Any) -> tuple[Any, ...]:
        keys = ((..., slice(a, b), *[slice(None)] * (-1 - axis)) for a, b in pairwise(edges))
        return tuple(g[key] for key in keys)

    return Value(joined, "view", tuple(arrays), pull, ("concatenate", axis))


def linear(rows: Any, weight: Any, bias: Any = None) -> Any:
    """rows (..., K) times weight (N, K), and a bias (N,): (..., N)."""
    torch = _torch(rows)
    if torch is not None:
        return torch.nn.functional.linear(rows, weight, bias)
    flat = rows.reshape(-1, rows.shape[-1])  # one product, whose gradient is one product too
    product = (flat @ weight.swapaxes(0, 1)).reshape(*rows.shape[:-1], weight.shape[0])
    return product if bias is None else product + bias


def plus_product(bias: Any, rows: Any, matrix: Any, out: Any = None) -> Any:
    """A bias (M,) or (N, M), or None, plus rows (N, K) times matrix (K, M), in `out` if there is one.

    `out` may be the bias.
    """
    made = np.matmul(rows, matrix, out=None if out is bias else out)
    return made if bias is None else np.add(made, bias, out=made if out is None else out)


def blocks(rows: Any, weight: Any, bias: Any, heads: int, gates: int) -> Any:
    """The same with weight (G * H, K / heads), which is block-diagonal for each gate: (..., G * H).

    Unit j of each gate sees block j // (H / heads) of K. heads = 1 is the full product.
    """
    if heads == 1:
        return linear(rows, weight, bias)
    lead, width = rows.shape[:-1], weight.shape[1]
    of_heads = rows.reshape(*lead, heads, 1, width) @ by_head(weight, heads, gates).swapaxes(-1, -2)
    product = of_heads.reshape(*lead, heads, gates, -1).swapaxes(-2, -3).reshape(*lead, -1)
    return product if bias is None else product + bias


def by_head(weight: Any, heads: int, gates: int) -> Any:
    """The blocks (heads, G * H / heads, K / heads) of a weight (G * H, K / heads)."""
    width = weight.shape[1]
    return weight.reshape(gates, heads, -1, width).swapaxes(0, 1).reshape(heads, -1, width)


def skew(entries: Any) -> Any:
    """The skew-symmetric matrix (n, n) of the n (n - 1) / 2 entries below its diagonal, row by row."""
    n = (1 + math.isqrt(1 + 8 * entries.shape[0])) // 2
    below, above = np.tril(np.ones((n, n)), -1), np.triu(np.ones((n, n)), 1)
    at = np.zeros((n, n), int)
    at[np.tril_indices(n, -1)] = np.arange(1, entries.shape[0] + 1)
    padded = concatenate([constant(np.zeros(1), entries), entries])  # 0 is on the diagonal
    return padded[at + at.T] * constant(below - above, entries)


def expm(matrix: Any) -> Any:
    """The matrix exponential of (n, n), computed in float64 whatever the dtype.

    Its error grows with n: in float32 it would be 1e-6 at 33.
    """
    torch = _torch(matrix)
    if torch is not None:
        return _torch_expm(torch).apply(matrix.double()).to(matrix.dtype)
    from scipy.linalg import expm as exponential  # SciPy takes long to import, and few cells need it

    def rounded(a: np.ndarray) -> np.ndarray:
        return exponential(a.astype(np.float64)).astype(a.dtype)

    if not isinstance(matrix, Value):
        return rounded(matrix)

    def pull(g: np.ndarray, y: np.ndarray, a: np.ndarray) -> tuple[np.ndarray]:
        # the upper right block of exp([[A', G], [0, A']]) is the derivative's adjoint at G (Mathias 1996);
        # linear in G, which is scaled to 1, for the series would lose digits where G is much larger than A
        n, size = len(a), float(np.abs(g).max()) or 1.0
        adjoint = exponential(np.block([[a.T, g / size], [np.zeros_like(a), a.T]]))[:n, n:]
        return ((adjoint * size).astype(g.dtype),)

    return Value(rounded(matrix.array), "expm", (matrix,), pull)


@cache
def _torch_expm(torch: Any) -> Any:
    """The exponential as an autograd function.

    The backward of torch.linalg.matrix_exp loses digits with the cotangent's size; this one is as in `expm`.
    On the CPU SciPy computes it: of a skew matrix of 512 torch.linalg.matrix_exp (2.13) is off by 7e-14,
    SciPy's by 3e-15.
    """

    def exponential(a: Any) -> Any:
        if a.device.type != "cpu":
            return torch.linalg.matrix_exp(a)
        from scipy.linalg import expm

        return torch.from_numpy(expm(a.detach().numpy()))

    class Exponential(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, a: Any) -> Any:
            ctx.save_for_backward(a)
            return exponential(a)

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            (a,) = ctx.saved_tensors
            n, size = len(a), g.abs().max().clamp(min=1e-300)
            rows = torch.cat([a.mT, g / size], 1), torch.cat([torch.zeros_like(a), a.mT], 1)
            return exponential(torch.cat(rows))[:n, n:] * size

    return Exponential


def _torch(*values: Any) -> Any:
    torch = sys.modules.get("torch")
    return torch if torch is not None and any(isinstance(v, torch.Tensor) for v in values) else None
