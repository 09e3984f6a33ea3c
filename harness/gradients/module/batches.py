"""The batches and parameters of a diagnosis, checked, and everything shared left as it was."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .inputs import Inputs, split_batch
from .layers import FUSED
from .states import leaves, mapped

Batch = tuple[Inputs, Any]


def take(batches: Iterable, samples: int, model: nn.Module, batch_axis: int | None) -> list[Batch]:
    """Batches until there are enough samples, on the model's device.

    Raises ValueError for a batch that is no (x, target), that is empty, or whose x is not finite.
    """
    if not isinstance(batches, Iterable):
        given = "function" if callable(batches) else type(batches).__name__
        raise ValueError(f"batches is a {given}; diagnose takes (model, loss, batches), in this order")
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    taken: list[Batch] = []
    for k, batch in enumerate(
        islice(batches, samples)
    ):  # each has a sample at least: an endless iterable ends
        inputs, target = split_batch(k, batch, model)
        for what, tensor in (*(("x", x) for x in inputs.tensors), *(("target", y) for y in leaves(target))):
            refuse_without_values(f"{what} of batch {k}", tensor)
        for x in inputs.tensors:
            if x.is_floating_point() and not torch.isfinite(x).all():
                raise ValueError(
                    f"x of batch {k} holds {int((~torch.isfinite(x)).sum())} numbers that are not finite"
                )
        taken.append((inputs.mapped(lambda t: t.to(device)), mapped(target, lambda t: t.to(device))))
        axis = _likely_axis(model, taken) if batch_axis is None else batch_axis
        if sum(sequences(x, y, axis) for x, y in taken) >= samples:
            break
    if not taken:
        raise ValueError("there are no batches; give an iterable of (x, target)")
    return taken


def refuse_without_values(what: str, tensor: Any) -> None:
    """Raises ValueError for a tensor that holds no numbers, or not one for each entry."""
    if not isinstance(tensor, Tensor):
        return
    if tensor.is_meta:
        raise ValueError(f"{what} is on the device meta and has no values; give it values first")
    if tensor.layout is not torch.strided:
        raise ValueError(f"{what} is of layout {tensor.layout}; give {what.split()[0]}.to_dense()")
    if not tensor.numel():
        raise ValueError(f"{what} is {tuple(tensor.shape)} and holds nothing; leave empty batches out")


def _likely_axis(model: nn.Module, taken: list[Batch]) -> int:
    """Of x, the one that holds the sequences; a wrong guess reads more batches or fewer, and no more.

    It is the one that the targets have too; else the one that does not change from batch to batch; else that
    of the recurrent modules.
    """
    batch_first = [m.batch_first for m in model.modules() if isinstance(m, FUSED)]
    guess = 0 if batch_first and batch_first[0] else 1
    shapes = [x.first.shape for x, _ in taken]
    if any(len(s) < 2 for s in shapes):
        return guess
    shared = [
        k for k in (0, 1) if all(s[k] in leaves(y)[0].shape for s, (_, y) in zip(shapes, taken, strict=True))
    ]
    if len(shared) == 1:
        return shared[0]
    constant = [k for k in (0, 1) if len({s[k] for s in shapes}) == 1]
    return constant[0] if len(constant) == 1 else guess


def sequences(inputs: Inputs, target: Any, axis: int) -> int:
    """How many a batch holds; a packed sequence says it itself."""
    if (packed := inputs.packed) is not None:
        return int(packed.batch_sizes[0])
    x = inputs.first
    return x.shape[min(axis, x.ndim - 1)] if x.ndim > 1 else len(leaves(target)[0])


def cast(tree: Any, kind: torch.dtype) -> Any:
    """Tensors cut off from their graph, and in this dtype unless they hold whole numbers."""

    def to_kind(t: Tensor) -> Tensor:
        return t.detach().to(kind) if t.is_floating_point() else t

    return tree.mapped(to_kind) if isinstance(tree, Inputs) else mapped(tree, to_kind)


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
