"""States of any shape: nested tuples, lists and dicts of tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def leaves(tree: Any) -> list[Tensor]:
    """All tensors of nested tuples, lists and dicts."""
    if isinstance(tree, Tensor):
        return [tree]
    parts = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, (tuple, list)) else ()
    return [leaf for part in parts for leaf in leaves(part)]


def mapped(tree: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(tree, Tensor):
        return change(tree)
    if isinstance(tree, dict):
        return {k: mapped(v, change) for k, v in tree.items()}
    if isinstance(tree, (tuple, list)):
        parts = [mapped(v, change) for v in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
    return tree


def widened(state: Any, batch: int) -> Any:
    """A caller's first state for a batch: a callable of the batch size, or tensors whose axis of samples may
    be 1.
    """
    if callable(state):
        return state(batch)
    kind = torch.get_default_dtype()

    def widen(t: Tensor) -> Tensor:
        t = t.detach().to(kind) if t.is_floating_point() else t
        return t.expand(batch, *t.shape[1:]) if t.ndim and len(t) == 1 else t

    return mapped(state, widen)
