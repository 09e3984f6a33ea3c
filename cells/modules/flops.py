"""FLOPs of a torch module, counted while it runs: products, and entries of elementwise results."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from ..cell import GatedCell
from ..contract import State
from ..derived.counts import Operations
from .operations import Operations as Counted
from .recorded import Run

STEPS = 4


def flops(cell: GatedCell, run: Run, input_size: int, hidden_size: int) -> Operations:
    """Of one time step of one sequence, as the mean over a short sequence."""
    params = {
        name: torch.from_numpy(value).requires_grad_()
        for name, value in cell.init(input_size, hidden_size).items()
    }
    x = torch.ones(STEPS, 1, input_size, dtype=torch.float64, requires_grad=True)
    shapes = cell.state_shapes(1, hidden_size)
    state = State(**{k: torch.zeros(s, dtype=torch.float64) for k, s in shapes.items()})
    # oneDNN's layers are one operation, in which nothing can be counted
    with without_onednn():
        with Counted(strict=False) as forward:
            output, _ = run(params, x, state)
        with _counted() as backward:
            torch.autograd.grad(output.sum(), [x, *params.values()], allow_unused=True)
    return Operations(*(n // STEPS for n in (forward.products.total(), forward.rest.total(), *backward)))


@contextmanager
def without_onednn() -> Iterator[None]:
    with warnings.catch_warnings():
        # of a setting that is put back as it was, whether or not this build has it
        warnings.filterwarnings("ignore", "TF32 acceleration on top of oneDNN")
        with torch.backends.mkldnn.flags(enabled=False):
            yield


@contextmanager
def _counted() -> Iterator[list[int]]:
    """FLOPs of products and of elementwise operations, filled in at the end."""
    counts: list[int] = []
    with FlopCounterMode(display=False) as products, _Elementwise() as rest:
        yield counts
    counts += [products.get_total_flops(), rest.entries]


class _Elementwise(TorchDispatchMode):
    """Counts the entries that elementwise operations make."""

    entries = 0

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = operation(*args, **(kwargs or {}))
        if torch.Tag.pointwise in operation.tags and isinstance(result, torch.Tensor):
            self.entries += result.numel()
        return result
