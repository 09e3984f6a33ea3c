"""The batches and parameters of a diagnosis, checked, and everything shared left as it was."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice

import numpy as np
import torch
from torch import Tensor, nn

Batch = tuple[Tensor, Tensor]


def take(batches: Iterable, samples: int, model: nn.Module, batch_axis: int | None) -> list[Batch]:
    """Batches until there are enough samples, on the model's device.

    Raises ValueError for a batch that is no (x, target), or whose x is not finite.
    """
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    taken: list[Batch] = []
    count = 0
    for k, pair in enumerate(
        islice(batches, samples)
    ):  # each has a sample at least: an endless iterable ends
        if not (
            isinstance(pair, (tuple, list)) and len(pair) == 2 and all(isinstance(t, Tensor) for t in pair)
        ):
            raise ValueError(
                f"batch {k} is of type {type(pair).__name__}; it must be two tensors, (x, target)"
            )
        x, target = pair
        if x.is_floating_point() and not torch.isfinite(x).all():
            raise ValueError(
                f"x of batch {k} holds {int((~torch.isfinite(x)).sum())} numbers that are not finite"
            )
        taken.append((x.to(device), target.to(device)))
        count += x.shape[_likely_axis(model, batch_axis)]
        if count >= samples:
            break
    if not taken:
        raise ValueError("there are no batches; give an iterable of (x, target)")
    return taken


def _likely_axis(model: nn.Module, batch_axis: int | None) -> int:
    """Of x, the one that holds the sequences; a wrong guess reads more batches or fewer, and no more."""
    if batch_axis is not None:
        return batch_axis
    batch_first = [m.batch_first for m in model.modules() if isinstance(m, nn.RNNBase)]
    return 0 if batch_first and batch_first[0] else 1


def cast(tensor: Tensor, kind: torch.dtype) -> Tensor:
    """Cut off from its graph, and in this dtype unless it holds whole numbers."""
    return tensor.detach().to(kind) if tensor.is_floating_point() else tensor


def not_finite(model: nn.Module) -> str:
    """Parameters that are not finite, by name; empty where all are."""
    counts = {k: int((~torch.isfinite(p)).sum()) for k, p in model.named_parameters()}
    return ", ".join(f"{count} numbers of {name}" for name, count in counts.items() if count)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Puts back the state of every random generator that others share."""
    of_numpy, of_python = np.random.get_state(), random.getstate()
    with torch.random.fork_rng():
        try:
            yield
        finally:
            np.random.set_state(of_numpy)
            random.setstate(of_python)


@contextmanager
def default_dtype(kind: torch.dtype) -> Iterator[None]:
    """For a model that makes its own zeros, so that they are of the dtype that it is run in."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(kind)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
