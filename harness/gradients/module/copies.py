"""A copy of a model to be diagnosed: plain, in eval mode, without graphs; and what eval mode changes."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from .states import leaves, mapped

SKIPPED = ("_parameters", "_buffers", "_modules")


def plain(model: nn.Module) -> nn.Module:
    """The model inside torch.compile, DataParallel or DistributedDataParallel."""
    while True:
        if "_orig_mod" in model._modules:
            model = model._modules["_orig_mod"]  # type: ignore[assignment]
        elif isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            model = model.module
        else:
            return model


def copied(model: nn.Module, kind: torch.dtype | None = None) -> nn.Module:
    """In eval mode, and in this dtype unless None; the model itself is not touched.

    Tensors that the model holds with a graph (kept states, weights of a weight drop) are cut off from it.
    """
    memo: dict[int, Any] = {}
    for module in plain(model).modules():
        for name, value in vars(module).items():
            if name not in SKIPPED:
                memo |= {id(t): t.detach().clone() for t in leaves(value) if not t.is_leaf}
        memo |= {
            id(t): t.detach().clone() for t in module._buffers.values() if t is not None and not t.is_leaf
        }
    try:
        twin = copy.deepcopy(plain(model), memo).eval()
    except TypeError as error:  # it holds a lock, a file or the like
        raise ValueError(
            f"{type(plain(model)).__name__} cannot be copied ({error}); take that out of it"
        ) from None
    for module in list(twin.modules()):
        for name, child in list(module._modules.items()):
            if child is not None and plain(child) is not child:  # compiled in part
                module._modules[name] = plain(child)
    if kind is not None:
        twin = twin._apply(lambda t: _held(t, kind))
        for module in twin.modules():
            for name, value in list(vars(module).items()):
                if name not in SKIPPED and name != "_flat_weights" and leaves(value):
                    vars(module)[name] = mapped(value, lambda t: _cast(t, kind))
    return twin


def _held(tensor: Tensor, kind: torch.dtype) -> Tensor:
    """A parameter or a buffer in this dtype; a complex one in the complex dtype, for `to` drops its half."""
    if tensor.is_complex():
        return tensor.to(kind.to_complex())
    return tensor.to(kind) if tensor.is_floating_point() else tensor


def _cast(tensor: Tensor, kind: torch.dtype) -> Tensor:
    if isinstance(tensor, nn.Parameter) or not tensor.is_floating_point():
        return tensor
    return tensor.to(kind)


def notes(model: nn.Module) -> list[str]:
    """What of the model is frozen and what eval mode changes, in words; empty where there is neither."""
    found = _frozen(model)
    drops = sorted({_drop(m) for m in model.modules()} - {0.0})
    if drops:
        found.append(f"dropout {', '.join(f'{p:g}' for p in drops)} is off here")
    norms = [
        m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats
    ]
    if norms:
        told = "batch norm uses its running mean and variance here, not the batch's"
        if any(m.num_batches_tracked is not None and int(m.num_batches_tracked) == 0 for m in norms):
            told += "; they have seen no batch yet, so it does nothing: train first"
        found.append(told)
    return found


def _frozen(model: nn.Module) -> list[str]:
    leaves = dict(model.named_parameters())
    frozen = [name for name, leaf in leaves.items() if not leaf.requires_grad]
    if not frozen:
        return []
    if len(frozen) == len(leaves):
        return ["all parameters are frozen (requires_grad is False), so that nothing can be learned"]
    more = f" and {len(frozen) - 4} more" if len(frozen) > 5 else ""
    return [f"frozen, so that they learn nothing: {', '.join(frozen[: 4 if more else 5])}{more}"]


def _drop(module: nn.Module) -> float:
    rate = module.p if isinstance(module, nn.modules.dropout._DropoutNd) else getattr(module, "dropout", 0.0)
    return float(rate) if isinstance(rate, (int, float)) else 0.0
