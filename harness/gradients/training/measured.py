"""Norms of a model's gradients, one for each parameter, in float64 and with one wait for all of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from .norm import total_norm

if TYPE_CHECKING:
    from torch import Tensor, nn


def entries(gradient: Tensor) -> Tensor:
    """The stored entries as real numbers: of a sparse gradient its values, of a complex one both parts."""
    import torch

    dense = gradient.detach()
    dense = dense.coalesce().values() if dense.is_sparse else dense
    return torch.view_as_real(dense) if dense.is_complex() else dense


def norm_of(tensor: Tensor) -> Tensor:
    """A norm that is not read yet, so that a GPU goes on: summed in float64, without scaling."""
    import torch

    return torch.linalg.vector_norm(entries(tensor), dtype=torch.float64)


def norms_of(params: Sequence[nn.Parameter]) -> dict[int, float]:
    """id of a parameter -> the norm of its gradient (0 where it has none); inf or NaN if an entry is."""
    import torch

    given = {id(p): entries(p.grad) for p in params if p.grad is not None}
    if not given:
        return dict.fromkeys(map(id, params), 0.0)
    norms = torch._foreach_norm(list(given.values()), 2, torch.float64)
    device = norms[0].device
    values = torch.stack([n.to(device) for n in norms]).tolist()
    found = {key: _exact(value, given[key]) for key, value in zip(given, values, strict=True)}
    return {id(p): found.get(id(p), 0.0) for p in params}


def _exact(value: float, gradient: Tensor) -> float:
    """Squares of float64 entries may overflow, or underflow below 1e-150; those of narrower dtypes cannot."""
    import torch

    in_range = math.isfinite(value) and (value > 1e-150 or gradient.dtype != torch.float64)
    return value if in_range else total_norm([gradient])


def non_finite(gradient: Tensor | None) -> int:
    """The number of entries that are infinite or not a number."""
    import torch

    return 0 if gradient is None else int((~torch.isfinite(entries(gradient))).sum())


def total(norms: Iterable[float]) -> float:
    """The norm of all from the norms of parts; math.hypot would call (inf, NaN) infinite."""
    values = list(norms)
    return math.nan if any(map(math.isnan, values)) else math.hypot(*values)


def clamped_product(gradient: Tensor, limit: float, norm: float) -> float:
    """The inner product of a gradient of this norm and the same clamped to +-limit."""
    if not 0 < norm < math.inf:
        return norm * norm
    unit = entries(gradient).double() / norm  # so that no square leaves the range
    return norm * norm * float((unit * unit.clamp(-limit / norm, limit / norm)).sum())
