"""The loss between a batch's outputs and targets: its samples, its residuals, its mean."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from .axes import Axes, joined_trees, of_targets
from .states import leaves, mapped

REFUSALS = (
    RuntimeError,
    ValueError,
    IndexError,
    TypeError,
    AttributeError,
    KeyError,
)  # by which a loss refuses its arguments


class LossRefused(ValueError):
    """The caller's loss raised an error on an output and a target."""


@dataclass(frozen=True)
class BatchLoss:
    """The loss as the caller wrote it, and how its arguments lie.

    loss       of (output, target); target is a tensor, or tensors in tuples, lists and dicts
    output     the axes of the model's output; targets: those of each tensor of the target, None where it has
               no samples
    mean       whether it is a mean over samples, else a sum
    even       whether each sample of a batch has the same weight in it
    divisible  whether it can be had of some samples alone
    root       whether `loss` is the square of what the caller wrote, which is a root of a mean
    single     whether each sample has the loss of a batch of one, as it has in training
    parts      sizes of the batches that stand in one here; each has a loss of its own
    starts     by sample, the first position of batches that were padded in front to be joined; times: of the
               targets, the axes that were padded
    """

    loss: Callable[[Tensor, Any], Tensor]
    output: Axes
    targets: tuple[Axes | None, ...]
    mean: bool = True
    even: bool = True
    divisible: bool = True
    root: bool = False
    single: bool = False
    parts: tuple[int, ...] = ()
    starts: tuple[int, ...] = ()
    times: tuple[int | None, ...] = ()

    def of(self, count: int) -> BatchLoss:
        """The same for another batch of so many samples."""
        targets = tuple(None if a is None else a.of(count) for a in self.targets)
        return replace(self, output=self.output.of(count), targets=targets, parts=(count,), starts=())

    def part(self, which: Tensor) -> BatchLoss:
        """The same for some samples of the batch."""
        targets = tuple(None if a is None else a.part(which) for a in self.targets)
        starts = tuple(self.starts[int(k)] for k in which) if self.starts else ()
        output = self.output.part(which)
        return replace(self, output=output, targets=targets, parts=(len(which),), starts=starts)

    def total(self, output: Tensor, target: Any) -> Tensor:
        """Sum over samples of each one's loss."""
        count = self.output.count(output)
        if not self.mean and not self.starts:
            return self.loss(output, target)
        if self.starts:
            return torch.stack([own.total(*some) for own, *some in self.alike(output, target)]).sum()
        parts = (1,) * count if self.single else self.parts
        if (self.even and not self.single) or len(parts) < 2 or sum(parts) != count:
            return self.loss(output, target) * count
        ends = torch.tensor(parts).cumsum(0).tolist()
        spans = [torch.arange(end - n, end) for end, n in zip(ends, parts, strict=True)]
        each = [self.loss(*self.chosen(output, target, s)) * len(s) for s in spans]
        return torch.stack(each).sum()

    def alike(self, output: Tensor, target: Any) -> list[tuple[BatchLoss, Tensor, Any]]:
        """The samples by length, without the padding in front of them: loss, outputs and targets of each."""
        if not self.starts:
            return [(self, output, target)]
        groups: dict[int, list[int]] = {}
        for k, start in enumerate(self.starts):
            groups.setdefault(start, []).append(k)
        found = []
        for start, samples in groups.items():
            some, told = self.chosen(output, target, torch.tensor(samples))
            plain = replace(self, starts=(), parts=(1,) * len(samples))
            found.append((plain, *self._trimmed(some, told, start)))
        return found

    def _trimmed(self, output: Tensor, target: Any, start: int) -> tuple[Tensor, Any]:
        each = iter(self.times)

        def cut(tensor: Tensor) -> Tensor:
            axis = next(each)
            return tensor if axis is None else tensor.narrow(axis, start, tensor.shape[axis] - start)

        axis = self.output.time
        known = output if axis is None else output.narrow(axis, start, output.shape[axis] - start)
        return known, mapped(target, cut)

    def average(self, output: Tensor, target: Any) -> float:
        """Mean over samples."""
        with torch.no_grad():
            return float(self.total(output, target)) / self.output.count(output)

    def chosen(self, output: Tensor, target: Any, which: Tensor) -> tuple[Tensor, Any]:
        """Both, of some samples alone."""
        part = of_targets(target, lambda t, axes: axes.chosen(t, which), list(self.targets))
        return self.output.chosen(output, which), part

    def joined(self, pairs: list[tuple[Tensor, Any]]) -> tuple[Tensor, Any]:
        """The outputs and targets of several batches as one."""
        counts = [self.output.count(output) for output, _ in pairs]
        return self.output.joined([o for o, _ in pairs], counts), self.joined_targets(
            [t for _, t in pairs], counts
        )

    def joined_targets(self, targets: list[Any], counts: list[int]) -> Any:
        """The targets of several batches, of so many samples each, as one; all of them have samples."""

        def join(k: int, tensors: list[Tensor]) -> Tensor:
            axes = self.targets[k]
            assert axes is not None
            return axes.joined(tensors, counts)

        return joined_trees(targets, join)

    def residuals(self, output: Tensor, target: Any) -> Tensor:
        """-dl_i/d output_i, (B, P, K)."""
        leaf = output.detach().requires_grad_()
        with torch.enable_grad():
            total = self.total(leaf, target)
            if not total.requires_grad:
                raise ValueError(
                    "the loss does not depend on the model's output in a way that torch can differentiate;"
                    " compute it from the output with torch's functions, without detach, item or NumPy"
                )
            (gradient,) = torch.autograd.grad(total, leaf)
        return -self.output.rows(gradient)


def of_two(loss: Callable) -> Callable[[Any, Any], Tensor]:
    """The loss as one of (output, target): a target of several tensors is spread where it takes more.

    Raises ValueError, when called, where the loss is not one number, and LossRefused for an error of its own.
    """
    if isinstance(loss, type) or not callable(loss):
        kind = f"the class {loss.__name__}" if isinstance(loss, type) else f"a {type(loss).__name__}"
        what = "None" if loss is None else kind
        raise ValueError(f"loss is {what}; give a function of (output, target), such as torch.nn.MSELoss()")
    wanted = _positional(loss)

    def call(output: Any, target: Any) -> Tensor:
        spread = isinstance(target, (tuple, list)) and wanted == 1 + len(target) != 2
        try:
            value = loss(output, *target) if spread else loss(output, target)
        except REFUSALS as error:
            shapes = ", ".join(str(tuple(t.shape)) for t in leaves(target))
            shape = ", ".join(str(tuple(t.shape)) for t in leaves(output))
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise LossRefused(
                f"the loss refuses an output of shape {shape} with a target of shape {shapes}: {reason}"
            ) from error
        if not isinstance(value, Tensor) or value.numel() != 1:
            what = f"of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(
                f"loss(output, target) is {what}; it must be one number, the mean over the batch"
            )
        return value.reshape(())

    return call


def _positional(loss: Callable) -> int:
    """Arguments that the loss takes by place and that have no default; 2 where that is not known."""
    try:
        taken = inspect.signature(getattr(loss, "forward", loss)).parameters.values()
    except (TypeError, ValueError):
        return 2
    by_place = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in by_place and p.default is p.empty for p in taken)


@dataclass(frozen=True)
class Layout:
    """What is known of a batch beside its output and target.

    batch, steps    of the recurrence
    axis            of the batch, where the caller said it; likely: where the recurrence has it, if known
    packed          (2, N), as in Axes, of the recurrence's packed input
    sample_of_row   which sample the k-th entry of the output's first axis comes from
    """

    batch: int
    steps: int
    axis: int | None
    likely: int | None
    packed: Tensor | None
    sample_of_row: Callable[[int], int]

    def wanted(self, tensor: Tensor) -> int | None:
        if tensor.ndim < 2:
            return 0
        return self.likely if self.axis is None and tensor.ndim > 2 else self.axis


def batch_loss(
    loss: Callable[[Tensor, Any], Tensor], output: Tensor, target: Any, layout: Layout
) -> BatchLoss:
    """The loss with the axes of a batch's output and target.

    Raises ValueError, naming batch_axis, where the samples' axis is not to be found.
    """
    batch, steps, tensors = layout.batch, layout.steps, leaves(target)
    if not tensors:
        raise ValueError(
            f"the target is of type {type(target).__name__}; it must be a tensor, or hold tensors"
        )
    if _is_packed(output, layout):
        of_output = Axes(0, 1, packed=layout.packed)
    elif _folded(output, layout):
        of_output = Axes(layout.sample_of_row(1), 1, batch)
    elif batch == 1 and 1 not in output.shape[:2]:
        of_output = _alone(output, layout)
    else:
        samples = _samples("output", output, batch, layout.wanted(output))
        first = tensors[0].movedim(samples, 0) if samples < tensors[0].ndim else tensors[0]
        of_output = Axes(samples, _position(output.movedim(samples, 0), first, steps))
    targets = tuple(_of_target(t, layout, of_output, len(tensors) == 1) for t in tensors)
    return BatchLoss(loss, of_output, targets, parts=(batch,))


def _alone(output: Tensor, layout: Layout) -> Axes:
    """Of one sequence without an axis of samples."""
    timed = layout.steps > 1 and output.ndim > 0 and len(output) == layout.steps
    return Axes(0, 1 if timed and output.ndim > 1 else None, single=True)


def _is_packed(tensor: Tensor, layout: Layout) -> bool:
    """Whether its rows are the steps of all sequences, without padding."""
    rows = 0 if layout.packed is None else layout.packed.shape[1]
    return tensor.ndim > 0 and len(tensor) == rows and layout.batch not in tensor.shape


def _folded(tensor: Tensor, layout: Layout) -> bool:
    """Whether samples and steps share the first axis."""
    batch, steps = layout.batch, layout.steps
    return (
        min(steps, batch) > 1
        and tensor.ndim > 0
        and batch not in tensor.shape
        and len(tensor) == batch * steps
    )


def _of_target(target: Tensor, layout: Layout, output: Axes, alone: bool) -> Axes | None:
    """Folded in the output's order; None for a tensor beside others that has no axis of the batch."""
    if _is_packed(target, layout):
        return Axes(0, None, packed=layout.packed)
    if _folded(target, layout):
        return Axes(output.samples, 1, layout.batch)
    if layout.batch == 1 and (output.single or 1 not in target.shape):
        return Axes(0, None, single=True)
    if not alone and layout.batch not in target.shape:
        return None
    timed = output.position is not None and target.ndim > 1 and layout.axis is None
    return Axes(
        _samples("target", target, layout.batch, output.samples if timed else layout.wanted(target)), None
    )


def _samples(what: str, tensor: Tensor, batch: int, wanted: int | None) -> int:
    axes = [k for k, n in enumerate(tensor.shape) if n == batch]
    if wanted in axes:
        return int(wanted)
    if not axes:
        raise ValueError(
            f"the {what} is of shape {tuple(tensor.shape)}, which has no axis of the batch's {batch}"
            " sequences; say which axis of x holds the batch with batch_axis="
        )
    if len(axes) > 1 and 0 not in axes:
        raise ValueError(
            f"the {what} is of shape {tuple(tensor.shape)} and the batch has {batch}: say which axis with"
            " batch_axis="
        )
    return axes[0]


def _position(output: Tensor, target: Tensor, steps: int) -> int | None:
    if output.ndim == 2 and steps > 1 and output.shape == target.shape and output.shape[1] == steps:
        return 1
    axes = [k for k in (1, 2) if output.ndim == 3 and output.shape[k] == steps]
    return axes[0] if axes and steps > 1 else None
