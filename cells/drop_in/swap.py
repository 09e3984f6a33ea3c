"""torch.nn's recurrent modules of a model, made to compute through a backend, and back.

A module stays the same object with the same parameters, hooks and mode: its class alone changes, to one that
is the old one but for its forward. So shared modules and other references to it need no care.
"""

from __future__ import annotations

import warnings
from typing import Any, TypeVar

from torch import nn

from .. import catalogue
from ..derived import layers
from .forward import Computed, computed, computes
from .layers import unsupported

Model = TypeVar("Model", bound=nn.Module)
STEPS = (nn.RNNCell, nn.LSTMCell, nn.GRUCell)


def replace(model: Model, backend: str) -> Model:
    """The model, with its modules swapped; see `TorchModule.replace`."""
    check(model, "replace")
    catalogue.backend(backend)  # says so where there is none of this name
    found = {name: m for name, m in model.named_modules() if isinstance(m, (nn.RNNBase, *STEPS))}
    if not found:
        raise ValueError(f"{type(model).__name__} has no torch.nn.RNN, LSTM or GRU that could be replaced")
    module: Any
    for name, module in found.items():
        if isinstance(module, Computed):
            module.backend = backend
            vars(module).pop("_layers", None)
        elif reason := unswappable(module, backend):
            label = name or type(model).__name__
            warnings.warn(f"left {label} as it is: {reason}", UserWarning, stacklevel=3)
        else:
            module.__class__ = computed(type(module))
            vars(module)["backend"] = backend
    return model


def restore(model: Model) -> Model:
    """The model, with its modules as they were."""
    check(model, "restore")
    module: Any
    for name, module in model.named_modules():
        if not isinstance(module, Computed) or module.original is None:
            continue
        if type(module) is not computed(module.original):
            label = name or type(model).__name__
            reason = "its class was changed since; undo that first (remove_parametrizations)"
            warnings.warn(f"left {label} as it is: {reason}", UserWarning, stacklevel=3)
            continue
        for made_here in ("_layers", "backend"):
            vars(module).pop(made_here, None)
        module.__class__ = module.original  # type: ignore[assignment]  # the two have one layout
    return model


def check(model: Any, what: str) -> None:
    """Raises ValueError, one line, for what is no module."""
    if not isinstance(model, nn.Module):
        raise ValueError(f"{what} takes a torch.nn.Module; it was given {type(model).__name__}")


def unswappable(module: Any, backend: str) -> str | None:
    """None, or why the module stays torch.nn's."""
    cls = type(module)
    if isinstance(module, STEPS):
        return f"{cls.__name__} is a step, and its loop is in the model; this swaps RNN, LSTM and GRU"
    base = next((c for c in (nn.RNN, nn.LSTM, nn.GRU) if isinstance(module, c)), None)
    if base is None or cls.forward is not base.forward or "forward" in vars(module):
        return f"{cls.__name__} has a forward of its own"
    if hasattr(module, "parametrizations"):
        return "it is parametrized; replace it first, and parametrize it then"
    for name, tensor in module.named_parameters():
        if tensor.device.type != "cpu":
            return f"{name} is on {tensor.device}, and the kernels compute on the CPU"
        if str(tensor.dtype) not in ("torch.float32", "torch.float64"):
            return f"{name} is {tensor.dtype}, and the kernels compute float32 and float64"
    return unsupported(layers.single(computes(module)), backend)
