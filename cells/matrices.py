"""Functions of whole arrays that cells may use beside the vocabulary: on NumPy arrays, torch tensors and recorded Values."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from .tape import Value, array_of


def constant(array: Any, like: Any) -> Any:
    """A fixed NumPy array as whatever `like` is, in its dtype."""
    torch = _torch(like)
    if torch is not None:
        return torch.as_tensor(array, dtype=like.dtype, device=like.device)
    return np.asarray(array, like.dtype)


def concatenate(parts: Sequence[Any], axis: int = -1) -> Any:
    """The parts joined along an axis."""
    torch = _torch(*parts)
    if torch is not None:
        return torch.cat(list(parts), axis)
    joined = np.concatenate([array_of(p) for p in parts], axis)
    if not any(isinstance(p, Value) for p in parts):
        return joined
    edges = np.cumsum([0, *(p.shape[axis] for p in parts)])

    def pull(g, y, *args):
        keys = ((..., slice(a, b), *[slice(None)] * (-1 - axis)) for a, b in pairwise(edges))
        return tuple(g[key] for key in keys)

    return Value(joined, "view", tuple(parts), pull)


def linear(rows: Any, weight: Any, bias: Any = None) -> Any:
    """rows (..., K) times weight (N, K), and a bias (N,): (..., N)."""
    torch = _torch(rows)
    if torch is not None:
        return torch.nn.functional.linear(rows, weight, bias)
    product = rows @ weight.swapaxes(0, 1)
    return product if bias is None else product + bias


def blocks(rows: Any, weight: Any, bias: Any, heads: int, gates: int) -> Any:
    """The same with weight (G * H, K / heads): unit j of each gate sees block j // (H / heads) of K. (..., G * H).

    heads = 1 is the full product.
    """
    if heads == 1:
        return linear(rows, weight, bias)
    lead, width = rows.shape[:-1], weight.shape[1]
    parts = rows.reshape(*lead, heads, 1, width) @ by_head(weight, heads, gates).swapaxes(-1, -2)
    product = parts.reshape(*lead, heads, gates, -1).swapaxes(-2, -3).reshape(*lead, -1)
    return product if bias is None else product + bias


def by_head(weight: Any, heads: int, gates: int) -> Any:
    """The blocks (heads, G * H / heads, K / heads) of a weight (G * H, K / heads)."""
    width = weight.shape[1]
    return weight.reshape(gates, heads, -1, width).swapaxes(0, 1).reshape(heads, -1, width)


def expm(matrix: Any) -> Any:
    """The matrix exponential of (n, n)."""
    torch = _torch(matrix)
    if torch is not None:
        return torch.linalg.matrix_exp(matrix.double()).to(matrix.dtype)  # its error grows with n: 1e-6 in float32 at n = 33
    from scipy.linalg import expm as exponential

    if not isinstance(matrix, Value):
        return exponential(matrix)

    def pull(g, y, a):
        # the upper right block of exp([[A', G], [0, A']]) is the derivative's adjoint at G (Mathias 1996)
        n = len(a)
        return (exponential(np.block([[a.T, g], [np.zeros_like(a), a.T]]))[:n, n:],)

    return Value(exponential(matrix.array), "expm", (matrix,), pull)


def _torch(*values: Any) -> Any:
    torch = sys.modules.get("torch")
    return torch if torch is not None and any(isinstance(v, torch.Tensor) for v in values) else None
