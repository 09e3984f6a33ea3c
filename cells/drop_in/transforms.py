"""What torch does with its own operations, and cannot do with these kernels, which it does not see."""

from __future__ import annotations

import torch
from torch.autograd import forward_ad


def refuse() -> None:
    """Raises ValueError, one line, where a call is traced or transformed.

    Without it, a trace would hold the numbers of this one call, and a forward derivative would be missing.
    """
    if torch._C._is_tracing():
        what = "torch.jit.trace does"
    elif torch._C._are_functorch_transforms_active():
        what = "torch.vmap and torch.func do"
    elif forward_ad._current_level >= 0:
        what = "torch.autograd.forward_ad does"
    else:
        return
    raise ValueError(unseen(what))


def unseen(what: str) -> str:
    """Why a call is refused; what ends in do or does."""
    advice = "swap torch.nn's modules back with torch_module.restore(model) first"
    return f"{what} not see these kernels; {advice}"
