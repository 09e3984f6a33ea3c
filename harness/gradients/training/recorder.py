"""Records gradients and clipping while someone else's training loop runs.

    with record(model) as gradients:
        ...  # backward, torch.nn.utils.clip_grad_norm_ or clip_grad_value_, optimiser.step(), as ever
    print(gradients)

torch is imported when a recording begins.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .steps import Steps
from .updates import Gradients
from .watch import Watch

if TYPE_CHECKING:
    from torch import nn


@contextmanager
def record(model: nn.Module) -> Iterator[Gradients]:
    """Records every update of the model's parameters inside the context.

    A row has the norm that the optimiser stepped with, measured in its step behind every other hook, and the
    norm that backward left. Norms are float64 sums, so that float32 gradients of 1e20 do not overflow; a loss
    scale of torch.amp.GradScaler is divided out. torch's clipping functions are watched wherever a loaded
    module holds them; clipping by other means counts as clipped, and the row says so. On a GPU each update
    waits for its norm. Raises ValueError for what is no module, or has no parameter.
    """
    _refuse(model)
    from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

    watch = Watch(model)
    steps = Steps(watch)
    places = list(_replacements(watch, steps))
    before = [(space, name, getattr(space, name)) for space, name, _ in places]
    handles = [
        register_optimizer_step_pre_hook(steps.before),
        register_optimizer_step_post_hook(steps.after),
    ]
    try:
        for space, name, new in places:
            setattr(space, name, new)
        yield watch.gradients
    finally:
        for space, name, old in before:
            setattr(space, name, old)
        for handle in handles:
            handle.remove()
        steps.end()
        watch.end()


def _refuse(model: Any) -> None:
    from torch import nn

    if not isinstance(model, nn.Module):
        raise ValueError(
            f"model is a {type(model).__name__}; record takes a torch module. Of several make one:"
            " record(torch.nn.ModuleList([first, second]))"
        )
    if next(iter(model.parameters()), None) is None:
        raise ValueError(f"model, a {type(model).__name__}, has no parameter, so there is nothing to record")


def _replacements(watch: Watch, steps: Steps) -> Iterator[tuple[Any, str, Any]]:
    """(module or class, name, what is watched instead)."""
    from torch.amp import GradScaler
    from torch.nn import utils

    clips = (
        (utils.clip_grad_norm_, False),
        (utils.clip_grads_with_norm_, False),
        (utils.clip_grad_value_, True),
    )
    for clip, by_value in clips:
        watched = watch.around(clip, by_value)
        yield from ((module, name, watched) for module, name in _holders(clip))
    yield GradScaler, "_unscale_grads_", steps.around_unscale(GradScaler._unscale_grads_)
    yield GradScaler, "step", steps.around_scaler(GradScaler.step)


def _holders(function: Any) -> list[tuple[Any, str]]:
    """(module, name) wherever a loaded module holds the function."""
    modules = [m for m in list(sys.modules.values()) if hasattr(m, "__dict__")]
    return [(m, name) for m in modules for name, value in list(vars(m).items()) if value is function]
