"""The forward of a module inside of torch.compile, which leaves its graph there and goes on behind it."""

from __future__ import annotations

from typing import Any

import torch

from .transforms import unseen

# the oldest PyTorch that is allowed may have neither
_callback = getattr(torch._C._dynamo.eval_frame, "get_eval_frame_callback", lambda: None)
_is_exporting = getattr(torch.compiler, "is_exporting", lambda: False)


def wanted() -> bool:
    """Whether torch.compile traces this call, or would trace the functions that it calls."""
    return torch.compiler.is_compiling() or _callback() not in (None, False)


def _eager(module: Any, input: Any, hx: Any) -> Any:
    if _is_exporting():  # which leaves no graph, and would come here again
        raise ValueError(unseen("torch.export does"))
    return module.forward(input, hx)


def __getattr__(name: str) -> Any:
    """`forward`, made when it is first asked for: torch.compiler.disable takes a second to import."""
    if name != "forward":
        raise AttributeError(name)
    return globals().setdefault(name, torch.compiler.disable(_eager))
