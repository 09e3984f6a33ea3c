"""The table of a torch module: a line for each submodule, and totals, of one call with given inputs."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from ..display import Displayed
from .watched import Calls, Watched, said, watched

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEADER = ("module", "kind", "output", "parameters", "state", "FLOP a step", "remarks")
LARGEST = 60  # characters of a message of somebody's code


@dataclass(frozen=True)
class Line:
    """One submodule. Numbers are its own, without those of the modules inside it, so that columns add up.

    name                '' is the model itself
    depth               of it in the tree, 0 is the model
    kind                its class
    calls               how often it was called; 0: it took no part
    output_shape        of the first tensor that its last call returned, such as '(20, 8, 16)'; '' where none
    parameters          how many numbers; those that an earlier line has are `shared`
    shared              how many numbers of its parameters an earlier line has
    shared_with         the names of those parameters there, or of the same module
    state               numbers that come back to it from step to step, of one sequence; None where none do
    operations          FLOPs of the whole call
    operations_a_step   FLOPs of one step of one sequence, the mean over the call
    """

    name: str
    depth: int
    kind: str
    calls: int
    output_shape: str
    parameters: int
    shared: int
    shared_with: str
    state: int | None
    operations: int
    operations_a_step: float


@dataclass(frozen=True, repr=False)
class Summary(Displayed):
    """A line for each submodule, in the order of the tree, and totals. `str` is the table.

    model               its class
    steps, sequences    of the call: T and B
    parameters          numbers, each counted once; `trainable` those that require a gradient
    state               numbers that are carried from step to step, of one sequence, as far as they are seen
    operations          FLOPs of the whole call, forward
    operations_a_step   FLOPs of one step of one sequence
    remarks             what the numbers leave out
    """

    axes = {"name": ()}
    records = "lines"
    drawn = ("parameters", "operations_a_step")

    model: str
    steps: int
    sequences: int
    parameters: int
    trainable: int
    state: int
    operations: int
    operations_a_step: float
    remarks: tuple[str, ...]
    lines: tuple[Line, ...]

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draws parameters and operations of the lines that have some into ax, a new figure's where None."""
        from ..display.figure import draw, new_axes

        ax = new_axes() if ax is None else ax
        frame = self.to_frame().replace({"name": {"": "(model)"}})
        draw(frame[frame[list(self.drawn)].any(axis=1)], "name", self.drawn, str(self), ax)
        return ax

    def __str__(self) -> str:
        rows = [HEADER, *(_row(line) for line in self.lines)]
        totals = (self.parameters, self.state, self.operations_a_step)
        rows.append(("total", "", "", *map(_number, totals), ""))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        texts = [_aligned(row, widths) for row in rows]
        rule = "-" * max(map(len, texts))
        call = f"one call of {_counted(self.steps, 'step')} and {_counted(self.sequences, 'sequence')}"
        foot = [
            f"{call}: {self.operations:,} FLOP forward; {self.trainable:,} parameters are trainable",
            *self.remarks,
        ]
        return "\n".join([texts[0], rule, *texts[1:-1], rule, texts[-1], *foot])


def summary(model: nn.Module, *inputs: Any, batch_axis: int | None = None) -> Summary:
    """Calls a copy of the model in eval mode, without gradients, and counts what happens in each submodule.

    inputs      what its forward takes. The first is x: (T, B, ...), or (B, T, ...) with batch_axis 0, or
                packed; one step is (B, I), of floating numbers
    batch_axis  of x, 0 or 1; unless given as torch's recurrent module has it, else 1

    FLOPs are 2 a multiply-add of a product, and 1 an entry of an elementwise operation or of what a sum takes
    in. State is that of torch's recurrent modules, and what a module returned and is given again.
    Raises ValueError, one line, for what cannot be counted: an operation that is not known, complex numbers,
    a module of torch.jit, what computes outside of torch, a forward that fails.
    """
    if not isinstance(model, nn.Module):
        raise ValueError(f"summary takes a torch.nn.Module; it was given {type(model).__name__}")
    twin = _copied(model)
    axis = _batch_axis(twin) if batch_axis is None else batch_axis
    if axis not in (0, 1):
        raise ValueError(f"batch_axis is {batch_axis!r}; it is 0 or 1")
    steps, sequences, total = _sizes(inputs, axis)
    seen = watched(twin, inputs, steps, sequences)
    lines = tuple(_lines(twin, seen, total))
    parameters = list(twin.parameters())
    operations = sum(line.operations for line in lines)
    return Summary(
        type(model).__name__,
        steps,
        sequences,
        sum(p.numel() for p in parameters),
        sum(p.numel() for p in parameters if p.requires_grad),
        sum(line.state or 0 for line in lines),
        operations,
        operations / total,
        tuple(_remarks(lines, seen)),
        lines,
    )


def _copied(model: nn.Module) -> nn.Module:
    """In eval mode, of the model inside torch.compile."""
    model = getattr(model, "_orig_mod", model)
    for name, module in model.named_modules():
        label = name or type(module).__name__
        if isinstance(module, torch.jit.ScriptModule):
            raise ValueError(
                f"{label} is a module of torch.jit, into which nothing can be seen; give the module that it"
                " was made of"
            )
        if any(isinstance(p, nn.parameter.UninitializedParameter) for p in module.parameters(False)):
            raise ValueError(f"{label} has no sizes before its first call; call the model once")
    try:
        return copy.deepcopy(model).eval()
    except Exception as error:  # somebody's code, which may raise anything
        raise ValueError(f"{type(model).__name__} cannot be copied: {said(error, LARGEST)}") from None


def _batch_axis(model: nn.Module) -> int:
    first = next((m for m in model.modules() if isinstance(m, nn.RNNBase)), None)
    return 0 if first is not None and first.batch_first else 1


def _sizes(inputs: tuple[Any, ...], axis: int) -> tuple[int, int, int]:
    """(T, B, steps of all sequences together) of the first input."""
    x = inputs[0] if inputs else None
    if isinstance(x, PackedSequence):
        return len(x.batch_sizes), int(x.batch_sizes[0]), len(x.data)
    if not isinstance(x, Tensor) or x.ndim < 2 or not x.numel():
        what = f"of shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        raise ValueError(
            f"the first input is {what}; it is a tensor (T, B, ...) or (B, T, ...), a packed sequence, or one"
            " step (B, I)"
        )
    if x.ndim == 2 and x.is_floating_point():
        return 1, len(x), len(x)
    steps, sequences = x.shape[1 - axis], x.shape[axis]
    return steps, sequences, steps * sequences


def _lines(model: nn.Module, seen: Watched, total: int) -> Iterator[Line]:
    owners: dict[int, str] = {}  # the first name of each parameter and module
    for name, module in model.named_modules(remove_duplicate=False):
        again = owners.setdefault(id(module), name) if name else ""
        calls = seen.calls.get(name, Calls()) if not again or again == name else Calls()
        own, shared, others = 0, 0, []
        for key, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
            path = f"{name}.{key}" if name else key
            if (first := owners.setdefault(id(parameter), path)) == path:
                own += parameter.numel()
            else:
                shared += parameter.numel()
                others.append(first)
        twice = bool(name) and again != name
        shared = 0 if twice else shared
        operations = 0 if twice else seen.operations[name]
        yield Line(
            name,
            name.count(".") + 1 if name else 0,
            type(module).__name__,
            calls.count,
            calls.shape,
            own,
            shared,
            again if twice else ", ".join(others),
            calls.state,
            operations,
            operations / total,
        )


def _remarks(lines: tuple[Line, ...], seen: Watched) -> Iterator[str]:
    if not any(line.state for line in lines):
        yield "state: none was seen; a state that a forward keeps for itself is not counted"
    elif seen.loops:
        yield (
            f"state: {', '.join(seen.loops)} is called several times, and does not get back what it returned;"
            " a state that it may have is not counted"
        )
    if unused := [line.name for line in lines if line.name and not line.calls and not line.shared_with]:
        yield f"not called: {', '.join(unused)}"


def _row(line: Line) -> tuple[str, ...]:
    name = "  " * line.depth + (line.name.rpartition(".")[2] or "(model)")
    remarks = [f"called {line.calls} times"] if line.calls > 1 else []
    if line.shared_with and not line.shared:
        remarks = [f"the same module as {line.shared_with}"]
    elif line.shared:
        remarks.append(f"{line.shared:,} shared with {line.shared_with}")
    elif not line.calls:
        remarks.append("not called")
    numbers = (line.parameters or None, line.state, line.operations_a_step or None)
    return (name, line.kind, line.output_shape, *map(_number, numbers), "; ".join(remarks))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _aligned(row: tuple[str, ...], widths: list[int]) -> str:
    """Numbers to the right."""
    fields = [
        text.rjust(width) if k in (3, 4, 5) else text.ljust(width)
        for k, (text, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(fields).rstrip()
