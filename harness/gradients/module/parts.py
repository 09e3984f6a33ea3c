"""The recurrent parts of a model, found by watching one call of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from .layers import FUSED, layers_of
from .masking import in_place_of_forward, masked
from .recorders import FusedRecorder, StepRecorder
from .recording import Recording

TORCHS = (*FUSED, nn.RNNCellBase)


def find_parts(model: nn.Module, drive: Callable[[], Any], named: str | None = None) -> dict[str, nn.Module]:
    """By name, in the order of their first call: torch's recurrent modules, and own ones called once a step.

    An own module counts where what it returned comes back to it in a later call. Layers of torch, such as
    a Linear, are looked at only where there is no other. Empty where there is none.
    """
    modules = dict(model.named_modules())
    counts = _calls(model, drive)
    if named is not None and counts.get(named, 0) > 1:
        return {named: modules[named]}
    if named is not None:  # it may loop inside
        counts = {k: n for k, n in counts.items() if k.startswith(f"{named}.")}
    torchs = [k for k in counts if isinstance(modules[k], TORCHS)]
    own = [
        k
        for k, n in counts.items()
        if k and n > 1 and k not in torchs and not any(isinstance(m, TORCHS) for m in modules[k].modules())
    ]
    written = [k for k in own if not type(modules[k]).__module__.startswith("torch.nn")]
    found = _chained(modules, written, drive)
    if not torchs and not found:
        found = _chained(modules, [k for k in own if k not in written], drive)
    return {k: modules[k] for k in counts if k in torchs or k in found}


def _calls(model: nn.Module, drive: Callable[[], Any]) -> dict[str, int]:
    """How often each module is called, by name, in the order of the first call."""
    counts: dict[str, int] = {}
    names = {m: name for name, m in model.named_modules()}

    def count(module: nn.Module, *_: Any) -> None:
        counts[names[module]] = counts.get(names[module], 0) + 1

    handles = [
        m.register_forward_pre_hook(count)
        for m in model.modules()
        if not isinstance(m, torch.jit.ScriptModule)
    ]
    try:
        with torch.no_grad():
            drive()
    finally:
        for handle in handles:
            handle.remove()
    return counts


def _chained(modules: dict[str, nn.Module], names: list[str], drive: Callable[[], Any]) -> list[str]:
    """Those of the names that get back what they returned; of one inside another the outer."""
    found: list[str] = []
    for name in sorted(names, key=lambda k: k.count(".")):
        if any(name.startswith(f"{outer}.") for outer in found):
            continue
        recording = Recording()
        with torch.enable_grad(), recorders({name: modules[name]}, recording):
            drive()
        if any(len(c.nodes) > 1 for c in recording.chains):
            found.append(name)
    return found


@contextmanager
def recorders(parts: dict[str, nn.Module], recording: Recording) -> Iterator[None]:
    """Records all calls of the parts."""
    with ExitStack() as stack:
        for name, module in parts.items():
            recorder = (
                FusedRecorder(name, layers_of(module), recording)
                if isinstance(module, FUSED)
                else StepRecorder(name, module, masked(module.forward, recording.starts), recording)
            )
            stack.enter_context(in_place_of_forward(module, recorder))
        yield


def depth(output: Tensor) -> int:
    """The longest path in the output's graph: a loop over time makes it grow with the steps."""
    depths: dict[Any, int] = {}
    stack = [output.grad_fn] if output.grad_fn is not None else []
    while stack:
        here = stack[-1]
        before = [f for f, _ in here.next_functions if f is not None]
        unknown = [f for f in before if f not in depths]
        if unknown:
            stack += unknown
            continue
        depths[here] = 1 + max((depths[f] for f in before), default=0)
        stack.pop()
    return depths.get(output.grad_fn, 0)
